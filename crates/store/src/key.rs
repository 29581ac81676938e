//! Keys of the API: hashes and what people call them. The keys themselves are never here.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ffi};

use crate::{Batch, Counter, Store, StoreError, column::Micros, error::Fault};

/// A key to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// The key's first characters, to tell it from others by.
    pub prefix: String,
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is an administrator's.
    pub admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A key on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its number. None is used twice, and later keys have higher ones.
    pub id: u64,
    /// What it was stored with.
    pub key: NewKey,
    /// When it was revoked; `None` for one that counts.
    pub revoked_at: Option<Timestamp>,
}

impl Batch {
    /// Inserts a key, and counts a [`Counter::KeyChanges`].
    ///
    /// Fails with [`StoreError::Exists`] when there is one with the same hash.
    pub fn key_insert(self, key: NewKey) -> Self {
        self.with("key_insert", move |connection| insert(connection, &key))
            .counter_add(Counter::KeyChanges, 1)
    }

    /// Revokes a key, and counts a [`Counter::KeyChanges`]. One that is revoked keeps its time.
    ///
    /// Fails with [`StoreError::NotFound`] when there is none of this number.
    pub fn key_revoke(self, id: u64, at: Timestamp) -> Self {
        self.with("key_revoke", move |connection| {
            const SQL: &str = "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1";
            let number = i64::try_from(id).map_err(|_| Fault::not_found("key", id))?;
            match connection.prepare_cached(SQL)?.execute((number, Micros(at)))? {
                0 => Err(Fault::not_found("key", id)),
                _ => Ok(()),
            }
        })
        .counter_add(Counter::KeyChanges, 1)
    }
}

impl Store {
    /// Every key there ever was, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn key_list(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.query("key_list", |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM keys ORDER BY id DESC")?;
            Ok(statement.query_map((), decode)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The key of this hash; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn key_find(&self, hash: [u8; 32]) -> Result<Option<KeyRecord>, StoreError> {
        self.query("key_find", move |connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM keys WHERE hash = ?1")?;
            Ok(statement.query_row([hash], decode).optional()?)
        })
        .await
    }
}

fn insert(connection: &Connection, key: &NewKey) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO keys (hash, prefix, name, admin, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = (key.hash, &key.prefix, &key.name, key.admin, Micros(key.created_at));
    match connection.prepare_cached(SQL)?.execute(row) {
        Err(error) if error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_UNIQUE) => {
            Err(Fault::exists("key", &key.prefix))
        }
        inserted => inserted.map(|_| ()).map_err(Fault::from),
    }
}

fn decode(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    Ok(KeyRecord {
        id: row.get("id")?,
        key: NewKey {
            hash: row.get("hash")?,
            prefix: row.get("prefix")?,
            name: row.get("name")?,
            admin: row.get("admin")?,
            created_at: row.get::<_, Micros>("created_at")?.0,
        },
        revoked_at: row.get::<_, Option<Micros>>("revoked_at")?.map(|at| at.0),
    })
}
