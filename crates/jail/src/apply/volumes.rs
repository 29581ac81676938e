//! Volumes: folders of the storage or of the host, mounted at places that the client chose.
//!
//! Whoever writes in a sandbox, or on the host below an allowed folder, may put links anywhere at any moment. So every
//! name on the way to a source or a target is opened by itself, below the one before, and a link is never followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::{
    HostPath,
    volume::{VolumeFault, VolumeFaultKind, VolumeMount, VolumeSource},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat2},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

use super::{Parts, identity};
use crate::{
    failure::StepError,
    sys::{self, MountAttributes, mount_attribute},
};

/// Whose files a host folder has, and how they are shown: its owner is the sandbox's root, all others are nobody.
#[derive(Debug)]
pub(crate) struct HostOwner {
    /// User and group.
    pub(crate) owner: (u32, u32),
    /// A user namespace that maps these two, and nothing else, to the sandbox's root.
    pub(crate) idmap: OwnedFd,
}

/// A failure with a volume, as what it is to the client.
fn fault(index: u8, kind: VolumeFaultKind, step: String, errno: Errno) -> StepError {
    StepError::new(step, errno).about(VolumeFault { index, kind })
}

/// Opens a folder below another by its names. Those that are missing are made, if that is asked for.
fn folder_below<'a>(
    base: OwnedFd,
    names: impl Iterator<Item = &'a str>,
    make: bool,
) -> rustix::io::Result<OwnedFd> {
    let mut folder = base;
    for name in names {
        folder = match folder_open(folder.as_fd(), name) {
            Err(Errno::NOENT) if make => {
                match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                    // Another sandbox that has the volume was faster.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                folder_open(folder.as_fd(), name)?
            }
            opened => opened?,
        };
    }
    Ok(folder)
}

fn folder_open(base: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(base, name, flags, Mode::empty(), resolve)
}

/// Opens a folder of Atoll's, or the root of the sandbox.
fn base_open(path: &HostPath) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(CWD, path.as_path(), BASE, Mode::empty())
}

/// Opens an allowed folder, by the path that it had when the launcher started.
fn prefix_open(path: &HostPath) -> rustix::io::Result<OwnedFd> {
    openat2(CWD, path.as_path(), BASE, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
}

const BASE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folder that is to be mounted. A sub-path that a volume of the storage does not have is made; the host's folders
/// are the host's affair.
pub(crate) fn source_open(
    index: u8,
    mount: &VolumeMount,
    volumes: &HostPath,
    prefixes: &[HostPath],
) -> Result<OwnedFd, StepError> {
    let words = || format!("open the volume for {}", mount.target);
    let failed = |kind| move |errno| fault(index, kind, words(), errno);
    let (base, make) = match &mount.source {
        VolumeSource::Named(volume) => {
            (base_open(volumes).and_then(|volumes| folder_open(volumes.as_fd(), &volume.to_string())), true)
        }
        VolumeSource::Host { prefix, path } => {
            let base = prefixes.get(usize::from(*prefix)).ok_or(Errno::NOENT).and_then(prefix_open);
            (base.and_then(|base| folder_below(base, path.names(), false)), false)
        }
    };
    let base = base.map_err(failed(VolumeFaultKind::Source))?;
    folder_below(base, mount.sub_path.names(), make).map_err(failed(VolumeFaultKind::SubPath))
}

/// The owner of a host folder, if it may be mounted as it is asked for.
pub(crate) fn owner_of(index: u8, mount: &VolumeMount, folder: &OwnedFd) -> Result<(u32, u32), StepError> {
    let words = || format!("look at the volume for {}", mount.target);
    let Stat { st_uid, st_gid, .. } =
        fstat(folder).map_err(|errno| fault(index, VolumeFaultKind::Source, words(), errno))?;
    // What a sandbox's root writes there may be run on the host with its owner's rights.
    if !mount.read_only && (st_uid == 0 || st_gid == 0) {
        return Err(fault(index, VolumeFaultKind::OwnedByRoot, words(), Errno::PERM));
    }
    Ok((st_uid, st_gid))
}

/// Makes the mount of a volume, attached nowhere.
pub(super) fn volume_mount(index: u8, mount: &VolumeMount, parts: &Parts<'_>) -> Result<OwnedFd, StepError> {
    let folder = source_open(index, mount, parts.volumes, parts.volume_prefixes)?;
    let owner = parts.volume_owners.get(usize::from(index)).and_then(Option::as_ref);
    let idmap = match (&mount.source, owner) {
        (VolumeSource::Named(_), _) => parts.user_namespace,
        (VolumeSource::Host { .. }, Some(owner)) if owner_of(index, mount, &folder)? == owner.owner => {
            owner.idmap.as_fd()
        }
        // Somebody has put another folder in its place since.
        (VolumeSource::Host { .. }, _) => {
            let step = format!("open the volume for {}", mount.target);
            return Err(fault(index, VolumeFaultKind::Source, step, Errno::AGAIN));
        }
    };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let words = || format!("mount the volume for {}", mount.target);
    // Without what the host has mounted below: each of those is a decision of its own.
    let tree = open_tree(&folder, "", flags).map_err(|errno| StepError::new(words(), errno))?;
    let read_only = if mount.read_only { mount_attribute::RDONLY } else { 0 };
    let attributes = MountAttributes {
        set: read_only | mount_attribute::NOSUID | mount_attribute::NODEV,
        idmap: Some(idmap),
        recursive: false,
    };
    sys::mount_set_attributes(tree.as_fd(), attributes)
        .map_err(|errno| fault(index, VolumeFaultKind::Unmappable, words(), errno))?;
    Ok(tree)
}

/// Attaches a volume inside the new root. Folders that are missing on the way are made, as the sandbox's root.
pub(super) fn volume_attach(
    index: u8,
    mount: &VolumeMount,
    tree: &OwnedFd,
    owner: u32,
) -> Result<(), StepError> {
    let attach = || {
        let root = base_open(&HostPath::new("/"))?;
        let names = mount.target.as_str().split('/').filter(|name| !name.is_empty());
        let target = identity::as_user(owner, || folder_below(root, names, true))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(tree.as_fd(), "", target.as_fd(), "", flags)
    };
    attach().map_err(|errno| {
        fault(index, VolumeFaultKind::Target, format!("attach the volume at {}", mount.target), errno)
    })
}
