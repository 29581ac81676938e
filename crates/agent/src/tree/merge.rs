//! Moves an unpacked tree to its place. Nothing is moved before it is clear that everything can be.

use std::os::fd::{AsFd, OwnedFd};

use protocol::agent::Failure;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, RenameFlags, fstat, renameat_with, statat},
    io::Errno,
};

use super::{
    beneath,
    draft::{Draft, Stated},
    metadata, name,
    parse::refusal,
};
use crate::failure::failure_os;

/// Moves everything in the draft into the folder. Folders of one name become one; any other file takes the
/// place of one of its name.
///
/// # Errors
/// When a folder and something else have one name, and then nothing has changed; or those of the system
/// calls.
pub(super) fn merge(draft: &Draft, target: &OwnedFd) -> Result<(), Failure> {
    shared_folders(draft, target, |path, is_folder, names| {
        let taken = match statat(names.to, names.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => FileType::from_raw_mode(found.st_mode) == FileType::Directory,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(merge_failure(path, errno)),
        };
        match (is_folder, taken) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(refusal(&format!(
                "{}: it is a folder, and in its place is something else",
                name::shown(path)
            ))),
            (false, true) => {
                Err(refusal(&format!("{}: in its place is a folder, which it is not", name::shown(path))))
            }
        }
    })?;
    let shared = shared_folders(draft, target, |path, is_folder, names| {
        // A folder would otherwise replace one that is empty.
        let flags = if is_folder { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        match renameat_with(names.from, names.name, names.to, names.name, flags) {
            Ok(()) => Ok(false),
            Err(Errno::EXIST) if is_folder => Ok(true),
            Err(errno) => Err(merge_failure(path, errno)),
        }
    })?;
    for path in shared {
        if let Some(stated) = draft.stated(&path) {
            stated_move(draft, target, &path, stated).map_err(|errno| merge_failure(&path, errno))?;
        }
    }
    Ok(())
}

/// A name in a folder of the draft and in that of the same path at the tree's place.
struct Names<'a> {
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    name: &'a [u8],
}

/// Goes through the folders that are in both trees, the outermost first, and returns their paths. `each` is
/// told every path of the draft in them and whether a folder is there, and says whether it is in both.
fn shared_folders(
    draft: &Draft,
    target: &OwnedFd,
    mut each: impl FnMut(&[u8], bool, &Names<'_>) -> Result<bool, Failure>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut shared = vec![Vec::new()];
    let mut index = 0;
    while let Some(folder) = shared.get(index).cloned() {
        index += 1;
        let failed = |errno| merge_failure(&folder, errno);
        let from = beneath::open(draft.root(), &folder, beneath::FOLDER, Mode::empty()).map_err(failed)?;
        let to = beneath::open(target, &folder, beneath::PLACE, Mode::empty()).map_err(failed)?;
        // All names first: the folder changes under way.
        let mut names = Vec::new();
        for next in Dir::read_from(&from).map_err(failed)? {
            let next = next.map_err(failed)?;
            let name = next.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push((name.to_vec(), next.file_type()));
            }
        }
        for (name, kind) in names {
            let path = if folder.is_empty() { name.clone() } else { [&folder[..], &name].join(&b'/') };
            let is_folder = match kind {
                FileType::Unknown => {
                    let found = statat(&from, &name[..], AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                    FileType::from_raw_mode(found.st_mode) == FileType::Directory
                }
                kind => kind == FileType::Directory,
            };
            if each(&path, is_folder, &Names { from: &from, to: &to, name: &name })? {
                shared.push(path);
            }
        }
    }
    Ok(shared)
}

/// Gives a folder that was there what the archive says of it.
fn stated_move(draft: &Draft, target: &OwnedFd, path: &[u8], stated: &Stated) -> Result<(), Errno> {
    let found = fstat(beneath::open(draft.root(), path, beneath::FOLDER, Mode::empty())?)?;
    let folder = beneath::open(target, path, beneath::FOLDER, Mode::empty())?;
    metadata::owner_set(folder.as_fd(), found.st_uid, found.st_gid)?;
    stated.set(folder.as_fd())
}

fn merge_failure(path: &[u8], errno: Errno) -> Failure {
    failure_os(format_args!("move {} to its place", name::shown(path)), &errno.into())
}
