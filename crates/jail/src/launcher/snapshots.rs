//! Requests about snapshots: what must not go on meanwhile, and the work given to a child.

use protocol::{SandboxId, SnapshotId, launcher::NOTE_BYTES_MAX};
use rustix::io::Errno;

use super::{groups, offload::Then, serve::Launcher, worker::LayerWork};
use crate::failure::StepError;

impl Launcher {
    pub(super) fn snapshot_create(
        &mut self,
        number: u64,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        note: Vec<u8>,
        total_bytes: u64,
    ) {
        if note.len() > NOTE_BYTES_MAX {
            let error = StepError::new("check the request: the note is too long", Errno::TOOBIG);
            self.answer_failed(number, error);
            return;
        }
        // A copy takes time, in which nothing may change.
        let then = if self.layers.subvolumes || !self.running.contains_key(&sandbox) {
            Then::Answer { number }
        } else if groups::is_frozen(&self.cgroup_of(sandbox)) {
            // It is paused, and stays so.
            Then::Answer { number }
        } else if let Err(error) = groups::freeze(&self.cgroup_of(sandbox)) {
            self.answer_failed(number, error);
            return;
        } else {
            Then::Thaw { number }
        };
        self.offload(sandbox, then, LayerWork::SnapshotCreate { sandbox, snapshot, note, total_bytes });
    }

    pub(super) fn snapshot_restore(
        &mut self,
        number: u64,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        disk_bytes: u64,
        total_bytes: u64,
    ) {
        if self.running.contains_key(&sandbox) || self.prepared.is_promised(sandbox) {
            let error = StepError::new("restore the snapshot: the sandbox runs", Errno::BUSY);
            self.answer_failed(number, error);
            return;
        }
        if self.ended.takes_layer(sandbox) {
            self.clean_now(sandbox);
        }
        let total_bytes = Some(total_bytes);
        let work = LayerWork::SnapshotRestore { sandbox, snapshot, disk_bytes, total_bytes };
        self.offload(sandbox, Then::Answer { number }, work);
        // It is launched next: what it leaves goes while the disk is waited for.
        self.clean_now(sandbox);
    }
}
