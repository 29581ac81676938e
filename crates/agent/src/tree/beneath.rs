//! Opens what is below a folder and on its mount, through no symbolic link: openat2(2) holds that, whatever
//! programs beside move around meanwhile.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// Flags for a folder that is only a place for names.
pub(super) const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// Flags for a folder whose names or metadata are read or set.
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// As often the kernel may say that something was moved while it looked.
const TRIES_MAX: usize = 64;

/// Opens `path` below `folder`; the folder itself where it is empty.
///
/// # Errors
/// `ELOOP` for a symbolic link anywhere on the path, `EXDEV` for what is on another mount or would leave the
/// folder, and those of openat2(2).
pub(super) fn open(folder: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for _ in 0..TRIES_MAX {
        match openat2(&folder, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}
