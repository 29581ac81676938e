//! What was begun with a sandbox and not finished: written before the act, so that the next start knows of it.

use protocol::{ExecId, SnapshotId};
use serde::{Deserialize, Serialize};

/// Something begun with a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pending {
    /// It is being made. Nobody was told of it yet.
    Create,
    /// It is being made from a snapshot. Nobody was told of it yet.
    Fork {
        /// The snapshot.
        origin: SnapshotId,
    },
    /// Its layer is being replaced by the state of a snapshot.
    Restore {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Snapshots that go with it.
        dropped: Vec<SnapshotId>,
    },
    /// A command runs in it, after which a snapshot is taken.
    Command {
        /// The exec.
        exec: ExecId,
        /// The snapshot to be.
        snapshot: SnapshotId,
        /// What its name starts with.
        prefix: String,
        /// The command, in words.
        note: String,
    },
}
