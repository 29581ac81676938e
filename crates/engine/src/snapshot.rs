//! What a client may say of a snapshot it wants, and what it gets to see of one that exists.

use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId};
use store::SnapshotRecord;

/// A snapshot to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// Its name.
    pub name: SnapshotName,
    /// What it is taken after, in words.
    pub note: Option<String>,
}

/// A name for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotName {
    /// This one. Must be new for the sandbox.
    Given(String),
    /// This, and the milliseconds since 1970; a later moment if that name is taken.
    Timed(String),
    /// None: it goes when what it was taken for is done.
    None,
}

impl SnapshotName {
    pub(crate) fn is_timed(&self) -> bool {
        matches!(self, Self::Timed(_))
    }

    pub(crate) fn at(&self, millis: i64) -> Option<String> {
        match self {
            Self::Given(name) => Some(name.clone()),
            Self::Timed(prefix) => Some(format!("{prefix}{millis}")),
            Self::None => None,
        }
    }

    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Given(text) | Self::Timed(text) => text.clone(),
            Self::None => String::new(),
        }
    }
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identifier.
    pub id: SnapshotId,
    /// Its place in the order in which snapshots were taken, for dialects that count; 0 in the answer to the
    /// request that took it.
    pub number: u64,
    /// The sandbox whose state it is.
    pub sandbox: SandboxId,
    /// Its name.
    pub name: String,
    /// What it was taken after, in words.
    pub note: Option<String>,
    /// When it was taken.
    pub created_at: Timestamp,
}

impl Snapshot {
    pub(crate) fn of(record: &SnapshotRecord) -> Self {
        Self {
            id: record.id,
            number: record.seq,
            sandbox: record.sandbox,
            name: record.name.clone().unwrap_or_default(),
            note: record.note.clone(),
            created_at: record.created_at,
        }
    }
}
