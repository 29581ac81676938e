//! The program that a sandbox was made with: bytes, up to some 64 MB, that only its sandbox's runs read.

use protocol::SandboxId;
use rusqlite::{Connection, OptionalExtension, ffi};

use crate::{Batch, Store, StoreError, column::Id, error::Fault};

impl Batch {
    /// Sets or replaces the program of a sandbox. Deleting the sandbox deletes it too.
    ///
    /// Fails with [`StoreError::NotFound`] when the sandbox is not in the store.
    pub fn program_put(self, sandbox: SandboxId, body: Vec<u8>) -> Self {
        self.with("program_put", move |connection| put(connection, sandbox, &body))
    }
}

impl Store {
    /// The program of a sandbox; `None` if it has none, or if there is no such sandbox.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn program_get(&self, sandbox: SandboxId) -> Result<Option<Vec<u8>>, StoreError> {
        self.query("program_get", move |connection| get(connection, sandbox)).await
    }

    /// What all programs hold together, in bytes.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn programs_bytes(&self) -> Result<u64, StoreError> {
        self.query("programs_bytes", |connection| {
            // SQLite reads the length from the head of a row, not its pages.
            let sum = "SELECT coalesce(sum(length(body)), 0) FROM programs";
            let bytes: i64 = connection.prepare_cached(sum)?.query_row((), |row| row.get(0))?;
            Ok(bytes.unsigned_abs())
        })
        .await
    }
}

pub(crate) fn put(connection: &Connection, sandbox: SandboxId, body: &[u8]) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO programs (sandbox_id, body) VALUES (?1, ?2)
        ON CONFLICT (sandbox_id) DO UPDATE SET body = excluded.body";
    match connection.prepare_cached(SQL)?.execute((Id(sandbox), body)) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_extended_error_code() == Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
            Err(Fault::not_found("sandbox", sandbox))
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn get(connection: &Connection, sandbox: SandboxId) -> Result<Option<Vec<u8>>, Fault> {
    Ok(connection
        .prepare_cached("SELECT body FROM programs WHERE sandbox_id = ?1")?
        .query_row([Id(sandbox)], |row| row.get(0))
        .optional()?)
}
