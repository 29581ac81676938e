//! What a client may say of a snapshot it wants, and what it gets to see of one that exists.

use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId, launcher::NOTE_BYTES_MAX};
use store::SnapshotRecord;

use crate::{Error, Result};

/// A snapshot to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// Its name.
    pub name: SnapshotName,
    /// What it is taken after, in words.
    pub note: Option<String>,
    /// It stays when its sandbox is deleted.
    pub outlives: bool,
}

impl SnapshotSpec {
    /// One that is taken after nothing in particular, and goes with its sandbox.
    #[must_use]
    pub fn new(name: SnapshotName) -> Self {
        Self { name, note: None, outlives: false }
    }
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
    /// Whether it stays when its sandbox is deleted.
    pub outlives: bool,
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
            outlives: record.outlives,
        }
    }
}

/// Characters of a snapshot's own note that are kept with it in the storage: the rest is in the database only.
const NOTE_KEPT: usize = 1024;

/// What is kept with a snapshot in the storage: its record, by which it is found again should a power cut take the
/// newest rows of the database.
pub(crate) fn note_of(record: &SnapshotRecord) -> Result<Vec<u8>> {
    let note = record.note.as_ref().map(|note| note.chars().take(NOTE_KEPT).collect());
    let bytes = serde_json::to_vec(&SnapshotRecord { note, ..record.clone() }).map_err(Error::internal)?;
    if bytes.len() > NOTE_BYTES_MAX {
        return Err(Error::internal("a snapshot's record is too long"));
    }
    Ok(bytes)
}

/// The record that was kept with a snapshot.
pub(crate) fn record_of(id: SnapshotId, note: &[u8]) -> Option<SnapshotRecord> {
    serde_json::from_slice::<SnapshotRecord>(note).ok().filter(|record| record.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_again_whatever_its_note() {
        let long: String = "\u{0}é🏝\"".repeat(100_000);
        for note in [None, Some("make".to_owned()), Some(long)] {
            let record = SnapshotRecord {
                id: SnapshotId::random(),
                seq: 0,
                sandbox: SandboxId::random(),
                owner: "key:7".to_owned(),
                name: Some("cmd_1".to_owned()),
                note: note.clone(),
                image: "host".to_owned(),
                created_at: Timestamp::UNIX_EPOCH,
                outlives: true,
            };
            let found = record_of(record.id, &note_of(&record).unwrap()).unwrap();
            let kept = note.map(|note| note.chars().take(NOTE_KEPT).collect());
            assert_eq!(found, SnapshotRecord { note: kept, ..record });
            assert_eq!(record_of(SnapshotId::random(), &note_of(&found).unwrap()), None);
        }
        assert_eq!(record_of(SnapshotId::random(), b"nonsense"), None);
    }
}
