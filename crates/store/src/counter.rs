//! Totals that survive a restart.

use rusqlite::OptionalExtension;

use crate::{Batch, Store, StoreError};

/// A total. The names are those of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Sandboxes created since the store was made.
    SandboxesCreated,
    /// The last [`crate::SandboxRecord::number`] given.
    SandboxesNumbered,
    /// Keys made and revoked. A server sees by it that another process has done so.
    KeyChanges,
}

impl Counter {
    /// Its name in the store and in the metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SandboxesCreated => "sandboxes_created_total",
            Self::SandboxesNumbered => "sandboxes_numbered_total",
            Self::KeyChanges => "key_changes_total",
        }
    }
}

impl Batch {
    /// Adds to a counter.
    pub fn counter_add(self, counter: Counter, by: u64) -> Self {
        self.with("counter_add", move |connection| {
            const SQL: &str = "INSERT INTO counters (name, value) VALUES (?1, ?2)
                ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
            connection.prepare_cached(SQL)?.execute((counter.name(), by))?;
            Ok(())
        })
    }
}

impl Store {
    /// The value of a counter; 0 for one that was never added to.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn counter_get(&self, counter: Counter) -> Result<u64, StoreError> {
        self.query("counter_get", move |connection| {
            let value = connection
                .prepare_cached("SELECT value FROM counters WHERE name = ?1")?
                .query_row([counter.name()], |row| row.get(0))
                .optional()?;
            Ok(value.unwrap_or(0))
        })
        .await
    }
}
