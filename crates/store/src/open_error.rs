//! Why a store could not be opened, and what the operator can do about it.

use protocol::HostPath;

use crate::Cause;

/// Why [`Store::open`](crate::Store::open) refused. The file is as it was, except after [`OpenError::Migration`]
/// (where the migrations before the failed one stay done) and where SQLite failed while it made a new file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server, or another `Store` in this one, has it open.
    #[error(
        "{path} is in use by another server: stop that one, or give this one a data directory of its own"
    )]
    InUse {
        /// The store's file.
        path: HostPath,
    },
    /// The file holds something that is not an SQLite database.
    #[error("{path} is not an SQLite database: move it away, or choose another data directory")]
    NotSqlite {
        /// The file.
        path: HostPath,
    },
    /// The file is a database of another program.
    #[error(
        "{path} is another program's database (application id {application_id:#010x}): move it away, or choose another data directory"
    )]
    Foreign {
        /// The file.
        path: HostPath,
        /// Bytes 68 to 71 of its header; 0 where that program set none.
        application_id: u32,
    },
    /// A newer Atoll wrote the file.
    #[error(
        "{path} was written by a newer Atoll (schema {found}, this one knows up to {known}): start that version, or restore a copy from before the upgrade"
    )]
    Newer {
        /// The file.
        path: HostPath,
        /// Its schema version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A server of another version has the file open.
    #[error(
        "{path} is in use by a server of another version (schema {found}, this one knows {known}): use that version's `atoll`"
    )]
    OtherVersion {
        /// The file.
        path: HostPath,
        /// Its schema version.
        found: u32,
        /// The one that this program knows.
        known: u32,
    },
    /// The file is one of Atoll's but its content is damaged.
    #[error(
        "{path} is damaged ({detail}): restore a copy, or save what can be saved with `sqlite3 {path} .recover` into a new file"
    )]
    Damaged {
        /// The file.
        path: HostPath,
        /// The first finding of `PRAGMA quick_check`, or SQLite's message.
        detail: String,
    },
    /// The file system has no shared memory maps or locks, as some network file systems, so there is no WAL.
    #[error("{path} is on a file system on which SQLite cannot work (journal mode {mode}): use a local disk")]
    NoWal {
        /// The file.
        path: HostPath,
        /// The journal mode that SQLite kept.
        mode: String,
    },
    /// Bringing the schema up to date failed.
    #[error("{path}: the migration {name} failed: free disk space if it is short, else report this")]
    Migration {
        /// The file.
        path: HostPath,
        /// The migration: `0001_sandboxes` …
        name: &'static str,
        /// What SQLite said.
        source: Cause,
    },
    /// The operating system refused a step.
    #[error("{path}: {step} failed: check that its folder exists and that the server's user may write there")]
    Io {
        /// The file.
        path: HostPath,
        /// What was tried: `lock` …
        step: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// SQLite failed at a step.
    #[error("{path}: {step} failed: check the disk and the rights of its folder")]
    Database {
        /// The file.
        path: HostPath,
        /// What was tried.
        step: &'static str,
        /// What SQLite said.
        source: Cause,
    },
}
