//! Taking a snapshot: its row is written while the disk is waited for, and neither stays without the other.

use jiff::Timestamp;
use protocol::SnapshotId;
use store::{Batch, SnapshotRecord, StoreError};

use super::operation::{Operation, is_over_quota};
use crate::{
    Error, ErrorKind, Result, RuntimeError,
    snapshot::{SnapshotName, SnapshotSpec, note_of},
};

/// A snapshot that is on the disk, with a row that nobody sees until it is settled.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) record: SnapshotRecord,
    /// The moment that is in its name.
    pub(super) millis: i64,
}

/// How often a name that is taken is tried with another time.
const NAME_TRIES: u32 = 1000;

impl Operation {
    /// Takes one if it is wanted.
    pub(super) async fn snapshot_if(&self, wanted: Option<SnapshotId>) -> Option<Result<Taken>> {
        match (wanted, &self.spec) {
            (Some(snapshot), Some(spec)) => Some(self.snapshot(snapshot, spec).await),
            _ => None,
        }
    }

    async fn snapshot(&self, id: SnapshotId, spec: &SnapshotSpec) -> Result<Taken> {
        let SnapshotSpec { name, note, outlives } = spec;
        let created_at = Timestamp::now();
        let millis = created_at.as_millisecond().max(self.snapshot_millis + 1);
        let record = SnapshotRecord {
            id,
            seq: 0,
            sandbox: self.record.id,
            owner: self.record.owner.clone(),
            name: name.at(millis),
            note: note.clone(),
            image: self.record.image.clone(),
            created_at,
            outlives: *outlives,
        };
        let note = note_of(&record)?;
        let (runtime, store) = (&self.engine.runtime, &self.engine.store);
        let total_bytes = self.engine.settings.total_bytes(&self.record.limits);
        let taken = runtime.snapshot_create(self.record.id, id, note, total_bytes);
        let (taken, intended) = tokio::join!(taken, self.intend(Taken { record, millis }, name));
        match (intended, taken) {
            (Ok(taken), Ok(())) => Ok(taken),
            (Ok(_), Err(error)) => {
                store.apply(Batch::new().snapshot_delete(id)).await.map_err(Error::internal)?;
                Err(not_taken(error, total_bytes))
            }
            (Err(error), Ok(())) => {
                if let Err(error) = runtime.snapshot_remove(id).await {
                    tracing::error!(snapshot = %id, %error, "a snapshot stays until the next start");
                }
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Writes its row.
    async fn intend(&self, mut taken: Taken, name: &SnapshotName) -> Result<Taken> {
        let most = if taken.record.name.is_some() { self.engine.settings.snapshots_max } else { usize::MAX };
        let mut tries = 0;
        loop {
            let batch = Batch::new().snapshot_intend(taken.record.clone(), most);
            match self.engine.store.apply(batch).await {
                Ok(()) => return Ok(taken),
                // Taken by one from before a restart, when the clock was ahead.
                Err(StoreError::Exists { .. }) if name.is_timed() && tries < NAME_TRIES => {
                    (taken.millis, tries) = (taken.millis + 1, tries + 1);
                    taken.record.name = name.at(taken.millis);
                }
                Err(StoreError::Exists { .. }) => {
                    let name = taken.record.name.as_deref().unwrap_or_default();
                    return Err(Error::new(ErrorKind::Conflict, format!("Snapshot {name:?} exists already")));
                }
                Err(StoreError::Full { most, .. }) => return Err(Error::snapshots_full(most)),
                Err(error) => return Err(Error::internal(error)),
            }
        }
    }
}

fn not_taken(error: RuntimeError, total_bytes: u64) -> Error {
    let (kind, text) = match &error {
        RuntimeError::StorageFull { .. } => {
            (ErrorKind::Unavailable, "the storage is full; delete snapshots or sandboxes".to_owned())
        }
        RuntimeError::Step { errno: NO_LAYER, .. } => {
            (ErrorKind::Conflict, "the sandbox has no files yet".to_owned())
        }
        error if is_over_quota(error) => {
            let text = format!(
                "the sandbox and its snapshots hold the {} MB that they may together; delete snapshots, or restore one \
                 that is older than what takes the room",
                total_bytes >> 20
            );
            (ErrorKind::Conflict, text)
        }
        _ => (ErrorKind::Unavailable, "the storage failed".to_owned()),
    };
    Error::new(kind, format!("The snapshot could not be taken: {text}")).caused_by(error)
}

/// `ENOENT` of errno(3).
const NO_LAYER: i32 = 2;
