//! Where a name below a folder leads, without ever leaving it.

use std::os::fd::{AsFd, OwnedFd};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
    entry_name::{normalise, split},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, mkdirat, open, openat2, readlinkat, statat},
    io::Errno,
};

use crate::{
    failure::{failure, failure_os},
    files::{FOLDER_MODE, LINKS_MAX},
};

/// Flags for a folder that is only a place for names.
pub(super) const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// As often the kernel may say that something was moved while it looked.
const TRIES_MAX: usize = 64;

/// A name in an open folder.
pub(crate) struct Place {
    pub(crate) folder: OwnedFd,
    pub(crate) name: Vec<u8>,
}

impl Place {
    /// What has the name, if anything has. A link is no more than that.
    ///
    /// # Errors
    /// Those of fstatat(2).
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Errno> {
        match statat(&self.folder, &self.name[..], AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The place that a write to `path` goes to: through links that stay below `root`, one after the other, to where
    /// the last one leads, whether or not that exists. Folders are made as needed.
    ///
    /// # Errors
    /// A [`Failure`] when it leads out, or a folder can't be made.
    pub(crate) fn to_write(root: &GuestPath, path: &[u8], what: &str) -> Result<Self, Failure> {
        let mut path = path_check(path, what)?;
        let root = root_open(root)?;
        for _ in 0..LINKS_MAX {
            let (above, name) = split(&path);
            if matches!(name, b"" | b"." | b"..") {
                return Err(failure(FailureKind::Folder, format!("{what}: it is a folder")));
            }
            let folder = folder_made(&root, above).map_err(|errno| failure_of(what, errno))?;
            match readlinkat(&folder, name, Vec::new()) {
                Ok(target) if target.as_bytes().starts_with(b"/") => {
                    return Err(failure_of(what, Errno::XDEV));
                }
                Ok(target) => path = [above, b"/./", target.as_bytes()].concat(),
                // No link, or nothing there.
                Err(Errno::INVAL | Errno::NOENT) => {
                    let name = name.to_vec();
                    return Ok(Self { folder, name });
                }
                Err(errno) => return Err(failure_of(what, errno)),
            }
            if path.starts_with(b"/") {
                path.insert(0, b'.');
            }
        }
        Err(failure_of(what, Errno::LOOP))
    }

    /// The place of `path` itself, be it a link.
    ///
    /// # Errors
    /// A [`Failure`] when it leads out, or the folder is not there.
    pub(crate) fn of(root: &GuestPath, path: &[u8], what: &str) -> Result<Self, Failure> {
        let path = path_check(path, what)?;
        let (above, name) = split(&path);
        let root = root_open(root)?;
        let folder =
            open_below(&root, above, PLACE, Mode::empty()).map_err(|errno| failure_of(what, errno))?;
        Ok(Self { folder, name: name.to_vec() })
    }
}

/// Whether what was found is a folder.
pub(crate) fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode).is_dir()
}

/// A name in normal form.
///
/// # Errors
/// A [`Failure`] when it is none, or names the folder itself or something outside.
pub(super) fn path_check(path: &[u8], what: &str) -> Result<Vec<u8>, Failure> {
    let is_outside = path.starts_with(b"/") || path.split(|&byte| byte == b'/').any(|part| part == b"..");
    match normalise(path) {
        Ok(path) if path.is_empty() => {
            Err(failure(FailureKind::Folder, format!("{what}: it is the folder itself")))
        }
        Ok(path) => Ok(path),
        Err(why) => {
            let kind = if is_outside { FailureKind::Outside } else { FailureKind::Invalid };
            Err(failure(kind, format!("{what}: {why}")))
        }
    }
}

/// Opens the folder that names are below. The way to it may have links, as for any program.
///
/// # Errors
/// A [`Failure`] when there is none.
pub(super) fn root_open(root: &GuestPath) -> Result<OwnedFd, Failure> {
    open(root.as_str(), PLACE | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| failure_os(format_args!("open the folder {root}"), &errno.into()))
}

/// Opens what is below a folder, or the folder itself where `path` is empty. Links are followed that stay below.
///
/// # Errors
/// `EXDEV` for what would leave the folder, and those of openat2(2).
pub(super) fn open_below(root: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES_MAX {
        match openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a folder below the root, made with those above it where they are missing.
fn folder_made(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    match open_below(root, path, PLACE, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let mut above = open_below(root, b"", PLACE, Mode::empty())?;
    let mut end = 0;
    for part in path.split(|&byte| byte == b'/') {
        end += part.len() + 1;
        if matches!(part, b"" | b".") {
            continue;
        }
        let so_far = &path[..(end - 1).min(path.len())];
        above = match open_below(root, so_far, PLACE, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(&above, part, FOLDER_MODE) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                open_below(root, so_far, PLACE, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(above)
}

/// What it means that a name can't be followed.
pub(super) fn failure_of(what: &str, errno: Errno) -> Failure {
    match errno {
        Errno::XDEV => failure(FailureKind::Outside, format!("{what}: it leads out of the folder")),
        // Written to, or removed as a file.
        Errno::ISDIR => failure(FailureKind::Folder, format!("{what}: it is a folder")),
        errno => failure_os(what, &errno.into()),
    }
}
