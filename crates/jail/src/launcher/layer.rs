//! The writable layer of a sandbox: a btrfs subvolume with a quota, or a plain folder.

use std::os::fd::{AsFd, OwnedFd};

use protocol::{HostPath, SandboxId};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    io::Errno,
};
use storage::layout::DataDir;

use crate::{
    failure::{Step, StepError},
    sys,
};

/// The folder of all layers.
pub(super) struct Layers {
    folder: OwnedFd,
    subvolumes: bool,
    /// Where the kernel shows what subvolumes hold: `/sys/fs/btrfs/<id>/qgroups`.
    quota_groups: Option<HostPath>,
}

impl Layers {
    pub(super) fn open(data: &DataDir, subvolumes: bool) -> Result<Self, StepError> {
        let path = data.sandboxes();
        let folder = openat(CWD, path.as_path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .step(|| format!("open {path}"))?;
        let quota_groups = subvolumes.then(|| sys::btrfs_id(folder.as_fd()).ok()).flatten().map(|id| {
            HostPath::new("/sys/fs/btrfs").join(uuid::Uuid::from_bytes(id).to_string()).join("qgroups")
        });
        Ok(Self { folder, subvolumes, quota_groups })
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
            sys::subvolume_create(self.folder.as_fd(), &name)
        } else {
            mkdirat(&self.folder, name.as_str(), Mode::from_raw_mode(0o700))
        };
        match made {
            Err(Errno::EXIST) => return self.reopen(&name, overlays).map(|()| false),
            other => other.step(|| "make the writable layer".to_owned())?,
        }
        let filled = self.fill(&name, overlays, disk_bytes);
        if filled.is_err() {
            self.remove(sandbox)?;
        }
        filled.map(|()| true)
    }

    /// Gives the layer of a sandbox to another, with another limit.
    pub(super) fn rename(&self, from: SandboxId, to: SandboxId, disk_bytes: u64) -> Result<(), StepError> {
        let (from, to) = (from.to_string(), to.to_string());
        rustix::fs::renameat(&self.folder, &from, &self.folder, &to)
            .step(|| "rename the writable layer".to_owned())?;
        if self.subvolumes {
            let layer = self.open_layer(&to)?;
            sys::subvolume_limit(layer.as_fd(), disk_bytes).step(|| "limit the writable layer".to_owned())?;
        }
        Ok(())
    }

    fn fill(&self, name: &str, overlays: &[&str], disk_bytes: u64) -> Result<(), StepError> {
        let layer = self.open_layer(name)?;
        if self.subvolumes {
            sys::subvolume_limit(layer.as_fd(), disk_bytes).step(|| "limit the writable layer".to_owned())?;
        }
        let mode = Mode::from_raw_mode(0o755);
        for overlay in overlays {
            mkdirat(&layer, *overlay, mode)
                .and_then(|()| mkdirat(&layer, format!("{overlay}/upper"), mode))
                .and_then(|()| mkdirat(&layer, format!("{overlay}/work"), mode))
                .step(|| format!("make the layer's folder {overlay}"))?;
        }
        Ok(())
    }

    /// Lets a layer be used again that was mounted `volatile`: overlayfs marks it, and refuses it while the
    /// mark is there (kernel filesystems/overlayfs, "Volatile mount").
    fn reopen(&self, name: &str, overlays: &[&str]) -> Result<(), StepError> {
        for overlay in overlays {
            let mark = format!("{name}/{overlay}/work/work/incompat/volatile");
            match rustix::fs::unlinkat(&self.folder, mark, rustix::fs::AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(StepError::new("reopen the writable layer", errno)),
            }
        }
        Ok(())
    }

    fn open_layer(&self, name: &str) -> Result<OwnedFd, StepError> {
        openat(&self.folder, name, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .step(|| "open the writable layer".to_owned())
    }

    /// Removes the layer of a sandbox; it is no error if there is none.
    pub(super) fn remove(&self, sandbox: SandboxId) -> Result<(), StepError> {
        let name = sandbox.to_string();
        let removed = if self.subvolumes {
            sys::subvolume_destroy(self.folder.as_fd(), &name)
        } else {
            match std::fs::remove_dir_all(format!("/proc/self/fd/{}/{name}", fd_number(&self.folder))) {
                Ok(()) => Ok(()),
                Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(StepError::new("remove the writable layer", errno)),
        }
    }

    /// Bytes that the layer holds, where they are counted.
    pub(super) fn size_bytes(&self, sandbox: SandboxId) -> Option<u64> {
        let groups = self.quota_groups.as_ref()?;
        let layer = self.open_layer(&sandbox.to_string()).ok()?;
        let number = sys::subvolume_number(layer.as_fd()).ok()?;
        let file = groups.join(format!("0_{number}")).join("referenced");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Every sandbox that has a layer.
    pub(super) fn list(&self) -> Result<Vec<SandboxId>, StepError> {
        let entries = rustix::fs::Dir::read_from(&self.folder).step(|| "list layers".to_owned())?;
        Ok(entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok())
            .collect())
    }
}

fn fd_number(fd: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}
