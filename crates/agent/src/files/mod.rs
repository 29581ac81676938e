//! File operations inside the sandbox: [`mod@write`] and [`read`] move contents, this file makes folders.
//!
//! All of them run on the [`worker`]'s thread in small pieces. Symbolic links are followed as any program
//! follows them: inside a sandbox they lead nowhere but inside.

mod read;
mod scratch;
mod worker;
mod write;

use std::path::Path;

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, chownat, mkdir, stat},
    io::Errno,
};

pub(crate) use read::{file_open, file_read, file_send};
pub(crate) use scratch::scratch_file;
pub(crate) use worker::{Begun, Worker};
pub(crate) use write::{LINKS_MAX, Target, Writing, file_write, is_draft, is_draft_of_new};

use crate::failure::{failure, failure_os};

/// How much of a file one job reads or writes: several frames, so that handing over jobs costs little.
const JOB_BYTES: usize = 256 << 10;
/// The bits that chmod(2) sets.
pub(crate) const MODE_BITS: u32 = 0o7777;
/// Permission bits of folders that are made because something is to be below.
pub(crate) const FOLDER_MODE: Mode = Mode::from_bits_truncate(0o755);

/// Makes a folder and those above it that do not exist, each with `mode`. One that exists stays as it is.
///
/// # Errors
/// A [`Failure`] that names the folder that could not be made.
pub(crate) async fn folder_create(worker: &Worker, path: GuestPath, mode: u32) -> Result<(), Failure> {
    let mode = mode_check(&path, mode)?;
    worker.run(move || folders_make(Path::new(path.as_str()), mode)).await
}

/// User and group of a file.
pub(crate) type Owner = (Uid, Gid);

/// Makes a folder, after those above it where they are missing.
pub(crate) fn folders_make(path: &Path, mode: Mode) -> Result<(), Failure> {
    folders_make_for(path, mode, None)
}

/// The same; those that are made are this owner's.
pub(crate) fn folders_make_for(path: &Path, mode: Mode, owner: Option<Owner>) -> Result<(), Failure> {
    folders_make_or_why(path, mode, owner).map_err(|(_, failure)| failure)
}

/// The same, with the reason as the kernel has it.
pub(crate) fn folders_make_or_why(
    path: &Path,
    mode: Mode,
    owner: Option<Owner>,
) -> Result<(), (Errno, Failure)> {
    // From the folder wanted upwards to the first that can be made, then down again: one call when only
    // the last is missing.
    let mut missing: Vec<&Path> = Vec::new();
    let mut ancestors = path.ancestors();
    for folder in ancestors.by_ref() {
        match folder_make(folder, mode, owner) {
            Ok(()) => break,
            Err((Errno::NOENT, _)) => missing.push(folder),
            Err(why) => return Err(why),
        }
    }
    missing.into_iter().rev().try_for_each(|folder| folder_make(folder, mode, owner))
}

fn folder_make(path: &Path, mode: Mode, owner: Option<Owner>) -> Result<(), (Errno, Failure)> {
    let what = format!("make the folder {}", path.display());
    match mkdir(path, mode) {
        Ok(()) => {
            let Some((uid, gid)) = owner else { return Ok(()) };
            chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| (errno, failure_os(what, &errno.into())))
        }
        Err(Errno::EXIST) => match stat(path) {
            Ok(found) if FileType::from_raw_mode(found.st_mode).is_dir() => Ok(()),
            Ok(_) => {
                let message = format!("{what}: a file of this name exists");
                Err((Errno::NOTDIR, failure(FailureKind::WrongType, message)))
            }
            // A symbolic link that leads nowhere: the folders above it do exist.
            Err(errno) => Err((Errno::EXIST, failure_os(what, &errno.into()))),
        },
        Err(errno) => Err((errno, failure_os(what, &errno.into()))),
    }
}

fn mode_check(path: &impl std::fmt::Display, mode: u32) -> Result<Mode, Failure> {
    if mode & !MODE_BITS == 0 {
        Ok(Mode::from_bits_truncate(mode))
    } else {
        Err(failure(FailureKind::Invalid, format!("make {path}: {mode:o} are not permission bits")))
    }
}
