//! The writable layer of a sandbox: a btrfs subvolume with a quota, or a plain folder.

use std::{
    cell::Cell,
    os::fd::{AsFd, OwnedFd},
};

use protocol::{HostPath, SandboxId};
use rustix::{
    fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags, XattrFlags, fsetxattr, mkdirat, openat},
    io::Errno,
};
use storage::layout::DataDir;

use crate::{
    failure::{Step, StepError},
    plan::OWN_FOLDERS,
    sys,
};

/// The folders of all layers and of their snapshots.
pub(super) struct Layers {
    pub(super) sandboxes: OwnedFd,
    pub(super) snapshots: OwnedFd,
    pub(super) volumes: OwnedFd,
    pub(super) subvolumes: bool,
    /// Where the kernel shows what subvolumes hold, if they have quotas: `/sys/fs/btrfs/<id>/qgroups`.
    pub(super) quota_groups: Option<HostPath>,
    /// Whether it counts what is written to who wrote it: only then a snapshot costs nothing to count.
    pub(super) simple_quotas: bool,
    /// A sandbox with a group of quotas is gone, and the group may be left.
    pub(super) budget_left: Cell<bool>,
}

impl Layers {
    pub(super) fn open(data: &DataDir, subvolumes: bool) -> Result<Self, StepError> {
        let open = |path: &HostPath| {
            openat(CWD, path.as_path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .step(|| format!("open {path}"))
        };
        let (sandboxes, snapshots) = (open(&data.sandboxes())?, open(&data.snapshots())?);
        // Whatever an earlier launcher had begun ends with the last of its processes, which all hold this.
        rustix::fs::flock(&sandboxes, FlockOperation::LockExclusive)
            .step(|| "wait for an earlier launcher".to_owned())?;
        let quota_groups = subvolumes.then(|| sys::btrfs_id(sandboxes.as_fd()).ok()).flatten().map(|id| {
            HostPath::new("/sys/fs/btrfs").join(uuid::Uuid::from_bytes(id).to_string()).join("qgroups")
        });
        // Linux before 6.7 has no simple quotas; others are not turned on.
        let quota_groups = quota_groups.filter(|groups| groups.as_path().exists());
        let mode = quota_groups.as_ref().and_then(|groups| std::fs::read_to_string(groups.join("mode")).ok());
        let simple_quotas = mode.is_some_and(|mode| mode.trim() == "squota");
        let layers = Self {
            sandboxes,
            snapshots,
            volumes: open(&data.volumes())?,
            subvolumes,
            quota_groups,
            simple_quotas,
            budget_left: Cell::new(false),
        };
        layers.half_done_settle()?;
        layers.volume_drafts_remove()?;
        Ok(layers)
    }

    /// Makes the layer of a sandbox unless it has one. Returns whether it was made.
    pub(super) fn ensure(
        &self,
        sandbox: SandboxId,
        overlays: &[&str],
        disk_bytes: u64,
    ) -> Result<bool, StepError> {
        let name = sandbox.to_string();
        let made = if self.subvolumes {
            sys::subvolume_create(self.sandboxes.as_fd(), &name)
        } else {
            mkdirat(&self.sandboxes, name.as_str(), Mode::from_raw_mode(0o700))
        };
        match made {
            Err(Errno::EXIST) => return self.reopen(&name, overlays, disk_bytes).map(|()| false),
            other => other.step(|| "make the writable layer".to_owned())?,
        }
        let filled = self.fill(&name, overlays, disk_bytes).and_then(|()| self.budget_join(sandbox));
        if filled.is_err() {
            self.remove(sandbox)?;
        }
        filled.map(|()| true)
    }

    /// Gives the layer of a sandbox to another, with another limit.
    pub(super) fn rename(&self, from: SandboxId, to: SandboxId, disk_bytes: u64) -> Result<(), StepError> {
        let (from, to) = (from.to_string(), to.to_string());
        rustix::fs::renameat(&self.sandboxes, &from, &self.sandboxes, &to)
            .step(|| "rename the writable layer".to_owned())?;
        if self.subvolumes {
            self.limit(&self.open_layer(&to)?, disk_bytes)?;
        }
        Ok(())
    }

    /// Limits a subvolume, where the pool has quotas.
    pub(super) fn limit(&self, layer: &OwnedFd, bytes: u64) -> Result<(), StepError> {
        if self.quota_groups.is_none() {
            return Ok(());
        }
        sys::subvolume_limit(layer.as_fd(), bytes).step(|| "limit the writable layer".to_owned())
    }

    /// Makes what an empty layer has, as far as it is not there yet.
    fn fill(&self, name: &str, overlays: &[&str], disk_bytes: u64) -> Result<(), StepError> {
        let layer = self.open_layer(name)?;
        if self.subvolumes {
            self.limit(&layer, disk_bytes)?;
        }
        let make = |folder: &str, mode| match mkdirat(&layer, folder, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => Ok(()),
            other => other,
        };
        for overlay in overlays {
            make(overlay, 0o755)
                .and_then(|()| make(&format!("{overlay}/upper"), 0o755))
                .and_then(|()| {
                    let own = OWN_FOLDERS.iter().filter(|(of, ..)| of == overlay);
                    own.map(|(_, path, mode)| (format!("{overlay}/upper/{path}"), *mode)).try_for_each(
                        |(path, mode)| make(&path, mode).and_then(|()| opaque_set(&layer, &path)),
                    )
                })
                .and_then(|()| make(&format!("{overlay}/work"), 0o755))
                .step(|| format!("make the layer's folder {overlay}"))?;
        }
        Ok(())
    }

    /// Lets a layer be used again: one that a launcher was making when it died is made to its end.
    fn reopen(&self, name: &str, overlays: &[&str], disk_bytes: u64) -> Result<(), StepError> {
        let made_last = overlays.last().map(|overlay| format!("{name}/{overlay}/work")).unwrap_or_default();
        match rustix::fs::accessat(&self.sandboxes, made_last, Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.fill(name, overlays, disk_bytes),
            Err(errno) => Err(StepError::new("reopen the writable layer", errno)),
        }
    }

    pub(super) fn open_layer(&self, name: &str) -> Result<OwnedFd, StepError> {
        Self::open_below(&self.sandboxes, name)
    }

    pub(super) fn open_below(folder: &OwnedFd, name: &str) -> Result<OwnedFd, StepError> {
        openat(folder, name, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .step(|| "open the layer".to_owned())
    }

    /// Whether a sandbox has a layer.
    pub(super) fn exists(&self, sandbox: SandboxId) -> bool {
        rustix::fs::accessat(&self.sandboxes, sandbox.to_string(), Access::EXISTS, AtFlags::empty()).is_ok()
    }

    /// Removes the layer of a sandbox; it is no error if there is none.
    pub(super) fn remove(&self, sandbox: SandboxId) -> Result<(), StepError> {
        self.layer_remove(&sandbox.to_string())?;
        if self.has_budget(sandbox) {
            self.budget_left.set(true);
        }
        Ok(())
    }

    pub(super) fn layer_remove(&self, name: &str) -> Result<(), StepError> {
        self.tree_remove(&self.sandboxes, name).step(|| "remove the writable layer".to_owned())
    }

    pub(super) fn tree_remove(&self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        let removed = if self.subvolumes {
            sys::subvolume_destroy(folder.as_fd(), name)
        } else {
            match std::fs::remove_dir_all(format!("/proc/self/fd/{}/{name}", fd_number(folder))) {
                Ok(()) => Ok(()),
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        };
        match removed {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Bytes that the layer holds, where they are counted.
    pub(super) fn size_bytes(&self, sandbox: SandboxId) -> Option<u64> {
        self.quota_groups.as_ref()?;
        let layer = self.open_layer(&sandbox.to_string()).ok()?;
        self.count(sys::subvolume_number(layer.as_fd()).ok()?, "referenced")
    }

    /// What the kernel shows of a subvolume's quota, or of a group of such.
    pub(super) fn count(&self, group: u64, what: &str) -> Option<u64> {
        let (level, number) = (group >> 48, group & 0xffff_ffff_ffff);
        let file = self.quota_groups.as_ref()?.join(format!("{level}_{number}")).join(what);
        let file = openat(CWD, file.as_path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = [0; 32];
        let length = rustix::io::read(&file, &mut text).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok()
    }

    /// Every sandbox that has a layer.
    pub(super) fn list(&self) -> Result<Vec<SandboxId>, StepError> {
        let entries = rustix::fs::Dir::read_from(&self.sandboxes).step(|| "list layers".to_owned())?;
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
            .collect())
    }
}

/// Makes a folder of a layer hide the one of its path in the image (overlayfs, "whiteouts and opaque directories").
fn opaque_set(layer: &OwnedFd, path: &str) -> Result<(), Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let folder = openat(layer, path, flags, Mode::empty())?;
    fsetxattr(&folder, "trusted.overlay.opaque", b"y", XattrFlags::empty())
}

fn fd_number(fd: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}
