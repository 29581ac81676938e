//! The record of a volume, and what a sandbox's record says of those that it has.

use jiff::Timestamp;
use protocol::{GuestPath, VolumeId, volume::RelativePath};
use rusqlite::{Connection, OptionalExtension, Row, ffi, params};
use serde::{Deserialize, Serialize};

use crate::{
    Batch, Store, StoreError,
    column::{Id, Micros},
    error::Fault,
};

/// All that is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its identifier.
    pub id: VolumeId,
    /// Whose it is; `""` for nobody in particular.
    pub owner: String,
    /// Its name, unique among those of its owner.
    pub name: String,
    /// What it may hold.
    pub bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A volume of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxVolume {
    /// What.
    pub source: SandboxVolumeSource,
    /// The folder of it that is meant.
    #[serde(default)]
    pub sub_path: RelativePath,
    /// Where in the sandbox.
    pub target: GuestPath,
    /// Nothing can be written through it.
    #[serde(default)]
    pub read_only: bool,
}

/// Where a sandbox's volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxVolumeSource {
    /// A volume of the storage.
    Named {
        /// Which.
        id: VolumeId,
        /// It was made for the sandbox, and goes with it, unless another has it then.
        #[serde(default)]
        ends_with_it: bool,
    },
    /// A folder of the host.
    Host {
        /// Its whole path. Whether that is allowed is asked at each launch.
        path: String,
    },
}

impl SandboxVolume {
    /// The volume of the storage, if it is one.
    #[must_use]
    pub fn named(&self) -> Option<VolumeId> {
        match self.source {
            SandboxVolumeSource::Named { id, .. } => Some(id),
            SandboxVolumeSource::Host { .. } => None,
        }
    }

    /// The same, if it goes with the last sandbox that has it.
    #[must_use]
    pub fn ends_with_it(&self) -> Option<VolumeId> {
        match self.source {
            SandboxVolumeSource::Named { id, ends_with_it: true } => Some(id),
            _ => None,
        }
    }
}

impl Batch {
    /// Inserts the record of a volume that is about to be there, where there may be `most` of everybody's.
    ///
    /// Fails with [`StoreError::Exists`] when its owner has one of that name, and with [`StoreError::Full`].
    pub fn volume_insert(self, record: VolumeRecord, most: usize) -> Self {
        self.with("volume_insert", move |connection| {
            let count: usize =
                connection.prepare_cached("SELECT count(*) FROM volumes")?.query_row((), |row| row.get(0))?;
            if count >= most {
                return Err(Fault::Full { noun: "volume", most });
            }
            insert(connection, &record)
        })
    }

    /// Deletes a record unless a sandbox has the volume.
    pub fn volume_delete_unused(self, id: VolumeId) -> Self {
        self.with("volume_delete_unused", move |connection| {
            const SQL: &str = "DELETE FROM volumes WHERE id = ?1
                AND NOT EXISTS (SELECT 1 FROM sandboxes WHERE instr(sandboxes.volumes, ?1))";
            connection.prepare_cached(SQL)?.execute([Id(id)])?;
            Ok(())
        })
    }

    /// Deletes a record of a volume that is not there.
    pub fn volume_forget(self, id: VolumeId) -> Self {
        self.with("volume_forget", move |connection| {
            connection.prepare_cached("DELETE FROM volumes WHERE id = ?1")?.execute([Id(id)])?;
            Ok(())
        })
    }
}

impl Store {
    /// The volumes of one owner, or everybody's, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn volume_list(&self, owner: Option<String>) -> Result<Vec<VolumeRecord>, StoreError> {
        self.query("volume_list", move |connection| {
            let whose = if owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
            let sql = format!("SELECT * FROM volumes WHERE {whose} ORDER BY name, owner");
            Ok(connection.prepare_cached(&sql)?.query_map([owner], decode)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The volume that an owner calls so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn volume_by_name(&self, owner: String, name: String) -> Result<VolumeRecord, StoreError> {
        self.query("volume_by_name", move |connection| {
            let sql = "SELECT * FROM volumes WHERE owner = ?1 AND name = ?2";
            let found = connection.prepare_cached(sql)?.query_row([&owner, &name], decode).optional()?;
            found.ok_or_else(|| Fault::not_found("volume", name))
        })
        .await
    }

    /// A volume.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn volume_get(&self, id: VolumeId) -> Result<VolumeRecord, StoreError> {
        self.query("volume_get", move |connection| {
            get(connection, id)?.ok_or_else(|| Fault::not_found("volume", id))
        })
        .await
    }
}

/// Makes sure that the volumes of a sandbox that is about to be recorded are there.
pub(crate) fn volumes_check(connection: &Connection, volumes: &[SandboxVolume]) -> Result<(), Fault> {
    for id in volumes.iter().filter_map(SandboxVolume::named) {
        get(connection, id)?.ok_or_else(|| Fault::not_found("volume", id))?;
    }
    Ok(())
}

fn get(connection: &Connection, id: VolumeId) -> rusqlite::Result<Option<VolumeRecord>> {
    connection.prepare_cached("SELECT * FROM volumes WHERE id = ?1")?.query_row([Id(id)], decode).optional()
}

fn insert(connection: &Connection, record: &VolumeRecord) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO volumes (id, owner, name, bytes, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let inserted = connection.prepare_cached(SQL)?.execute(params![
        Id(record.id),
        record.owner,
        record.name,
        record.bytes,
        Micros(record.created_at),
    ]);
    match inserted {
        Err(error)
            if matches!(
                error.sqlite_extended_error_code(),
                Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
            ) =>
        {
            Err(Fault::exists("volume", &record.name))
        }
        inserted => Ok(inserted.map(|_| ())?),
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<VolumeRecord> {
    Ok(VolumeRecord {
        id: row.get::<_, Id<_>>("id")?.0,
        owner: row.get("owner")?,
        name: row.get("name")?,
        bytes: row.get("bytes")?,
        created_at: row.get::<_, Micros>("created_at")?.0,
    })
}
