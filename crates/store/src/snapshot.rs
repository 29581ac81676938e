//! The record of a snapshot.

use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId};
use rusqlite::{Connection, OptionalExtension, Row, ffi, params};
use serde::{Deserialize, Serialize};

use crate::{
    Batch, Store, StoreError,
    column::{Id, Micros},
    error::Fault,
};

/// All that is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its identifier.
    pub id: SnapshotId,
    /// Its place in the order in which snapshots were taken, unique among all; not used when it is inserted.
    pub seq: u64,
    /// The sandbox whose layer it is of. It need not be in the store (any more).
    pub sandbox: SandboxId,
    /// Who may see it; `""` for nobody in particular.
    pub owner: String,
    /// Its name, unique among those of its sandbox; `None` for one that a fork under way needs.
    pub name: Option<String>,
    /// What it was taken after, in words.
    pub note: Option<String>,
    /// What the sandbox's root file system was made from: the snapshot is on top of that.
    pub image: String,
    /// When it was taken.
    pub created_at: Timestamp,
    /// It stays when the sandbox is deleted.
    #[serde(default)]
    pub outlives: bool,
}

impl Batch {
    /// Inserts the record of a snapshot that is there.
    ///
    /// Fails with [`StoreError::Exists`] when the identifier, or the sandbox's name of it, is taken.
    pub fn snapshot_insert(self, record: SnapshotRecord) -> Self {
        self.with("snapshot_insert", move |connection| insert(connection, &record, true))
    }

    /// Inserts the record of a snapshot that is about to be there, of a sandbox that may have `most`. It holds its
    /// name, and is in no list before [`Self::snapshot_settle`].
    ///
    /// Fails as [`Self::snapshot_insert`], and with [`StoreError::Full`].
    pub fn snapshot_intend(self, record: SnapshotRecord, most: usize) -> Self {
        self.with("snapshot_intend", move |connection| {
            if count(connection, record.sandbox)? >= most {
                return Err(Fault::Full { noun: "snapshot", most });
            }
            insert(connection, &record, false)
        })
    }

    /// A snapshot that was intended is there.
    pub fn snapshot_settle(self, id: SnapshotId) -> Self {
        self.with("snapshot_settle", move |connection| {
            connection.prepare_cached("UPDATE snapshots SET settled = 1 WHERE id = ?1")?.execute([Id(id)])?;
            Ok(())
        })
    }

    /// Deletes a record, if there is one.
    pub fn snapshot_delete(self, id: SnapshotId) -> Self {
        self.with("snapshot_delete", move |connection| {
            connection.prepare_cached("DELETE FROM snapshots WHERE id = ?1")?.execute([Id(id)])?;
            Ok(())
        })
    }
}

impl Store {
    /// A sandbox's snapshots, in the order in which they were taken.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshot_list(&self, sandbox: SandboxId) -> Result<Vec<SnapshotRecord>, StoreError> {
        self.submit(Batch::new()).await?;
        self.query("snapshot_list", move |connection| {
            let sql = "SELECT * FROM snapshots WHERE sandbox_id = ?1 AND settled ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.query_map([Id(sandbox)], decode)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many snapshots a sandbox has or is about to have.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshot_count(&self, sandbox: SandboxId) -> Result<usize, StoreError> {
        self.query("snapshot_count", move |connection| Ok(count(connection, sandbox)?)).await
    }

    /// Everybody's snapshots, or one owner's, in the order in which they were taken.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshot_list_all(&self, owner: Option<String>) -> Result<Vec<SnapshotRecord>, StoreError> {
        self.submit(Batch::new()).await?;
        self.query("snapshot_list_all", move |connection| {
            let whose = if owner.is_some() { "owner = ?1" } else { "?1 IS NULL" };
            let sql = format!("SELECT * FROM snapshots WHERE {whose} AND settled ORDER BY seq");
            Ok(connection.prepare_cached(&sql)?.query_map([owner], decode)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A snapshot that was taken.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn snapshot_get(&self, id: SnapshotId) -> Result<SnapshotRecord, StoreError> {
        self.submit(Batch::new()).await?;
        self.query("snapshot_get", move |connection| {
            let sql = "SELECT * FROM snapshots WHERE id = ?1 AND settled";
            let found = connection.prepare_cached(sql)?.query_row([Id(id)], decode).optional()?;
            found.ok_or_else(|| Fault::not_found("snapshot", id))
        })
        .await
    }

    /// The snapshots that were intended and not settled: whether they are there is not known.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn snapshot_intents(&self) -> Result<Vec<SnapshotRecord>, StoreError> {
        self.query("snapshot_intents", |connection| {
            let mut statement =
                connection.prepare("SELECT * FROM snapshots WHERE NOT settled ORDER BY seq")?;
            Ok(statement.query_map((), decode)?.collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn count(connection: &Connection, sandbox: SandboxId) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM snapshots WHERE sandbox_id = ?1";
    connection.prepare_cached(sql)?.query_row([Id(sandbox)], |row| row.get(0))
}

fn insert(connection: &Connection, record: &SnapshotRecord, settled: bool) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO snapshots (id, sandbox_id, owner, name, note, image, created_at, settled,
        outlives) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let inserted = connection.prepare_cached(SQL)?.execute(params![
        Id(record.id),
        Id(record.sandbox),
        record.owner,
        record.name,
        record.note,
        record.image,
        Micros(record.created_at),
        settled,
        record.outlives,
    ]);
    match inserted {
        Err(error) if error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE) => {
            let name = record.name.clone().unwrap_or_else(|| record.id.to_string());
            Err(Fault::exists("snapshot", name))
        }
        inserted => Ok(inserted.map(|_| ())?),
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<SnapshotRecord> {
    Ok(SnapshotRecord {
        id: row.get::<_, Id<_>>("id")?.0,
        seq: row.get("seq")?,
        sandbox: row.get::<_, Id<_>>("sandbox_id")?.0,
        owner: row.get("owner")?,
        name: row.get("name")?,
        note: row.get("note")?,
        image: row.get("image")?,
        created_at: row.get::<_, Micros>("created_at")?.0,
        outlives: row.get("outlives")?,
    })
}
