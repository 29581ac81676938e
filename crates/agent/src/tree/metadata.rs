//! Owner, mode, times and extended attributes of open files and folders. It must not know archives.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod, fchown,
        fgetxattr, flistxattr, fsetxattr, futimens, utimensat,
    },
    io::Errno,
    process::geteuid,
};

use super::entry::{Attributes, Entry, Time};

/// The most that one list of names or one value can have (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
/// As often an attribute may grow while it is read.
const TRIES_MAX: usize = 8;

/// Whether an extended attribute belongs to the tree: what programs set, file capabilities, and access
/// lists. Others are the kernel's and the host's.
pub(super) fn is_kept(attribute: &[u8]) -> bool {
    attribute.starts_with(b"user.")
        || matches!(
            attribute,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        )
}

/// The extended attributes that belong to the tree.
pub(super) fn attributes(file: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let names = match grown(|buffer| flistxattr(file, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let mut attributes = Vec::new();
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !is_kept(name.to_bytes()) {
            continue;
        }
        match grown(|buffer| fgetxattr(file, name, buffer)) {
            Ok(value) => attributes.push((name.to_bytes().to_vec(), value)),
            // Removed since.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    attributes.sort_unstable();
    Ok(attributes)
}

/// Calls with a larger and larger buffer.
fn grown(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 1 << 10];
    for _ in 0..TRIES_MAX {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < ATTRIBUTE_BYTES_MAX => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::RANGE)
}

/// Sets extended attributes, where the file system has any.
pub(super) fn attributes_set(file: BorrowedFd<'_>, attributes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Errno> {
    for (name, value) in attributes.iter().filter(|(name, _)| is_kept(name)) {
        match fsetxattr(file, &name[..], value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => {}
            set => unless_ordinary_user(set)?,
        }
    }
    Ok(())
}

/// Gives an open file all that its entry says. The order is the kernel's: a change of owner takes away
/// set-user-id and capabilities.
pub(super) fn set(file: BorrowedFd<'_>, entry: &Entry) -> Result<(), Errno> {
    owner_set(file, entry.uid, entry.gid)?;
    attributes_set(file, &entry.attributes)?;
    mode_and_time_set(file, entry.mode, entry.modified)
}

pub(super) fn mode_and_time_set(file: BorrowedFd<'_>, mode: u32, modified: Time) -> Result<(), Errno> {
    fchmod(file, Mode::from_bits_truncate(mode))?;
    futimens(file, &timestamps(modified))
}

pub(super) fn owner_set(file: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    unless_ordinary_user(fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

/// Sets owner and time of what can't be opened.
pub(super) fn set_at(place: impl AsFd, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    unless_ordinary_user(chownat(&place, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    utimensat(&place, name, &timestamps(entry.modified), AtFlags::SYMLINK_NOFOLLOW)
}

/// An agent that runs as an ordinary user somewhere can give away files and capabilities as little as any
/// program there.
fn unless_ordinary_user(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM) if !geteuid().is_root() => Ok(()),
        result => result,
    }
}

/// The time of the last change of content.
pub(super) fn modified(found: &Stat) -> Time {
    Time { seconds: found.st_mtime, nanos: u32::try_from(found.st_mtime_nsec).unwrap_or(0) }
}

fn timestamps(modified: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanos.into() },
    }
}
