//! Why a write or a query failed, without a type of the SQL library in sight.

use std::{fmt, sync::Arc};

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked. Nothing of the batch is stored then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such record.
    #[error("{noun} {id} is not in the store")]
    NotFound {
        /// What kind of record: `sandbox` …
        noun: &'static str,
        /// Which one.
        id: String,
    },
    /// A record with this identifier is stored already.
    #[error("{noun} {id} is in the store already")]
    Exists {
        /// What kind of record: `sandbox` …
        noun: &'static str,
        /// Which one.
        id: String,
    },
    /// There are as many as there may be.
    #[error("there are {most} {noun}s already")]
    Full {
        /// What kind of record: `snapshot` …
        noun: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// The disk of the data directory, or its quota, is full.
    #[error("{operation}: the disk that holds the store is full, nothing was written: free some space on it")]
    DiskFull {
        /// The change that did not fit, or `commit`.
        operation: &'static str,
    },
    /// SQLite failed, or a stored value is not of the form that it should have.
    #[error("{operation}: the store's database failed")]
    Database {
        /// The change or query: `sandbox_insert` …; `begin` or `commit` for the transaction around them.
        operation: &'static str,
        /// What SQLite said.
        source: Cause,
    },
    /// The store's thread has ended, so the operation was not done.
    #[error("{operation}: the store has stopped: restart the server")]
    Stopped {
        /// The operation.
        operation: &'static str,
    },
}

/// What SQLite said: a text for people and logs, and nothing to match on.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<rusqlite::Error>);

impl From<rusqlite::Error> for Cause {
    fn from(error: rusqlite::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// A failure that does not know yet in which operation it happened.
#[derive(Debug)]
pub(crate) enum Fault {
    NotFound { noun: &'static str, id: String },
    Exists { noun: &'static str, id: String },
    Full { noun: &'static str, most: usize },
    Database(rusqlite::Error),
}

impl Fault {
    pub(crate) fn not_found(noun: &'static str, id: impl fmt::Display) -> Self {
        Self::NotFound { noun, id: id.to_string() }
    }

    pub(crate) fn exists(noun: &'static str, id: impl fmt::Display) -> Self {
        Self::Exists { noun, id: id.to_string() }
    }

    pub(crate) fn at(self, operation: &'static str) -> StoreError {
        match self {
            Self::NotFound { noun, id } => StoreError::NotFound { noun, id },
            Self::Exists { noun, id } => StoreError::Exists { noun, id },
            Self::Full { noun, most } => StoreError::Full { noun, most },
            Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                StoreError::DiskFull { operation }
            }
            Self::Database(error) => StoreError::Database { operation, source: error.into() },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
