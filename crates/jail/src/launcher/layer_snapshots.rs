//! Snapshots of layers: read-only copies of a whole layer, in constant time where it is a btrfs subvolume.
//!
//! It must not know who runs: whoever calls sees to it that a layer is not in use when it is replaced, and, where
//! copying takes time, not written while it is copied.

use std::os::fd::AsFd;

use protocol::{SandboxId, SnapshotId, launcher::NOTE_BYTES_MAX};
use rustix::{
    fs::{RenameFlags, XattrFlags, fgetxattr, fremovexattr, fsetxattr, renameat, renameat_with},
    io::Errno,
};
use storage::tree_copy::tree_copy;

use super::layer::Layers;
use crate::{
    failure::{Step, StepError},
    sys,
};

impl Layers {
    /// Keeps the state of a layer under a new name, and what is to be known of it. Both are on the disk when this
    /// returns: the note is an attribute of the layer, and so of its copy.
    pub(super) fn snapshot_create(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        note: &[u8],
        total_bytes: u64,
    ) -> Result<(), StepError> {
        let (layer, name) = (sandbox.to_string(), snapshot.to_string());
        let step = || "make the snapshot".to_owned();
        let noted = || "note what the snapshot is".to_owned();
        let opened = self.open_layer(&layer)?;
        if !self.subvolumes {
            fsetxattr(&opened, NOTE, note, XattrFlags::empty()).step(noted)?;
            return self.copy(&self.sandboxes, &layer, &self.snapshots, &name).step(step);
        }
        let group = self.budget_for_snapshot(sandbox, &opened, total_bytes)?;
        let quota = sys::SnapshotQuota { group, bytes: None };
        let is_beside = match fsetxattr(&opened, NOTE, note, XattrFlags::empty()) {
            Ok(()) => false,
            Err(Errno::DQUOT) => {
                fsetxattr(&self.snapshots, note_name(snapshot), note, XattrFlags::empty()).step(noted)?;
                true
            }
            Err(errno) => return Err(StepError::new(noted(), errno)),
        };
        let taken = sys::subvolume_snapshot(opened.as_fd(), self.snapshots.as_fd(), &name, true, quota);
        if taken.is_err() && is_beside {
            let _ = fremovexattr(&self.snapshots, note_name(snapshot));
        }
        taken.step(step)
    }

    /// Makes the layer of a sandbox what a snapshot holds. When this returns it is so on the disk; when it fails
    /// the layer is what it was.
    pub(super) fn snapshot_restore(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        disk_bytes: u64,
        total_bytes: Option<u64>,
    ) -> Result<(), StepError> {
        let (layer, name) = (sandbox.to_string(), snapshot.to_string());
        let before = format!("{layer}{BEFORE}");
        self.layer_remove(&before)?;
        let had_layer = match renameat(&self.sandboxes, &layer, &self.sandboxes, &before) {
            Ok(()) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(StepError::new("put the layer aside", errno)),
        };
        let restored = self.layer_from(&name, sandbox, disk_bytes, total_bytes);
        if restored.is_err() {
            self.layer_remove(&format!("{layer}{MADE}"))?;
            if had_layer {
                renameat(&self.sandboxes, &before, &self.sandboxes, &layer)
                    .step(|| "put the layer back".to_owned())?;
            }
            return restored;
        }
        self.layer_remove(&before)?;
        if self.simple_quotas { self.budget_tidy(sandbox) } else { Ok(()) }
    }

    /// Whatever has the name of a layer is whole, and limited; and it is so on the disk.
    fn layer_from(
        &self,
        snapshot: &str,
        sandbox: SandboxId,
        disk_bytes: u64,
        total_bytes: Option<u64>,
    ) -> Result<(), StepError> {
        let step = || "restore the snapshot".to_owned();
        let layer = sandbox.to_string();
        let made = format!("{layer}{MADE}");
        if self.subvolumes {
            let snapshot = Self::open_below(&self.snapshots, snapshot)?;
            let group = self.budget_for_restore(sandbox, &snapshot, disk_bytes, total_bytes)?;
            let quota = sys::SnapshotQuota { group, bytes: self.simple_quotas.then_some(disk_bytes) };
            let (snapshot, folder) = (snapshot.as_fd(), self.sandboxes.as_fd());
            if self.simple_quotas {
                return sys::subvolume_snapshot(snapshot, folder, &layer, false, quota).step(step);
            }
            self.layer_remove(&made)?;
            sys::subvolume_snapshot(snapshot, folder, &made, false, quota).step(step)?;
            self.limit(&self.open_layer(&made)?, disk_bytes)?;
        } else {
            self.layer_remove(&made)?;
            self.copy(&self.snapshots, snapshot, &self.sandboxes, &made).step(step)?;
        }
        renameat(&self.sandboxes, &made, &self.sandboxes, layer)
            .and_then(|()| rustix::fs::syncfs(&self.sandboxes))
            .step(|| "name the writable layer".to_owned())
    }

    /// What was kept with a snapshot.
    pub(super) fn snapshot_note(&self, snapshot: SnapshotId) -> Result<Vec<u8>, StepError> {
        let step = || "read what the snapshot is".to_owned();
        let mut note = vec![0; NOTE_BYTES_MAX];
        // What is beside the snapshot goes before what is in it, which may be the note of one before.
        let length = match fgetxattr(&self.snapshots, note_name(snapshot), &mut note) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {
                let opened = Self::open_below(&self.snapshots, &snapshot.to_string())?;
                fgetxattr(&opened, NOTE, &mut note)
            }
            beside => beside,
        };
        note.truncate(length.step(step)?);
        Ok(note)
    }

    /// Removes a snapshot; it is no error if there is none.
    pub(super) fn snapshot_remove(&self, snapshot: SnapshotId) -> Result<(), StepError> {
        let removed = self.tree_remove(&self.snapshots, &snapshot.to_string());
        removed.step(|| "remove the snapshot".to_owned())?;
        match fremovexattr(&self.snapshots, note_name(snapshot)) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(StepError::new("remove what is noted of the snapshot", errno)),
        }
    }

    /// Every snapshot.
    pub(super) fn snapshot_list(&self) -> Result<Vec<SnapshotId>, StepError> {
        let entries = rustix::fs::Dir::read_from(&self.snapshots).step(|| "list snapshots".to_owned())?;
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
            .collect())
    }

    /// Finishes or takes back what a launcher that died was in the middle of: a layer that was put aside is the
    /// layer again, unless there is one.
    pub(super) fn half_done_settle(&self) -> Result<(), StepError> {
        let entries = rustix::fs::Dir::read_from(&self.sandboxes).step(|| "list layers".to_owned())?;
        let names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()))
            .collect();
        for name in names {
            if name.ends_with(MADE) {
                self.layer_remove(&name)?;
            } else if let Some(layer) = name.strip_suffix(BEFORE) {
                match renameat_with(&self.sandboxes, &name, &self.sandboxes, layer, RenameFlags::NOREPLACE) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => self.layer_remove(&name)?,
                    Err(errno) => return Err(StepError::new("put the layer back", errno)),
                }
            }
        }
        Ok(())
    }

    /// Copies a whole tree, whole or not at all.
    fn copy(
        &self,
        from_folder: &std::os::fd::OwnedFd,
        from: &str,
        to_folder: &std::os::fd::OwnedFd,
        to: &str,
    ) -> Result<(), Errno> {
        let copied = tree_copy(from_folder.as_fd(), from, to_folder.as_fd(), to);
        copied.map_err(|error| {
            let _ = self.tree_remove(to_folder, to);
            Errno::from_io_error(&error).unwrap_or(Errno::IO)
        })
    }
}

/// The attribute of a layer's folder that says what its copy is. No sandbox sees that folder.
const NOTE: &str = "trusted.atoll.snapshot";

/// The attribute of the folder of snapshots that says what one of them is: that of a layer whose quota is used up, and
/// of those that older versions took.
fn note_name(snapshot: SnapshotId) -> String {
    format!("{NOTE}.{snapshot}")
}

/// What the name of a layer ends in that was put aside. No sandbox's name does.
const BEFORE: &str = ".before";
/// The same of one that is being made.
const MADE: &str = ".made";
