//! Moves files, also from one file system to another.

use std::{fs::File, os::unix::fs::MetadataExt, rc::Rc, sync::Arc};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, RenameFlags, Timespec, Timestamps, Uid, chownat, renameat_with,
        unlinkat, utimensat,
    },
    io::Errno,
};

use super::{
    super::types::RenameFileItem,
    info::{found_at, type_of},
    path_of,
};
use crate::{
    agent::Agent,
    failure::{failure, failure_os},
    files::{Writing, file_open},
    http::{HttpError, Incoming, PIECE_BYTES, Reply, empty, json_array, piece_read},
};

/// What became of a move.
enum Renamed {
    Done,
    /// The two paths are on different file systems, and the first is a file.
    Elsewhere,
}

/// `POST /files/mv`
pub(in crate::execd) async fn files_rename(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    for item in json_array::<RenameFileItem>(request).await? {
        let (from, to) = (path_of(&item.src)?, path_of(&item.dest)?);
        let paths = (from.clone(), to.clone());
        match agent.files.run(move || rename(&paths.0, &paths.1)).await? {
            Renamed::Done => {}
            Renamed::Elsewhere => file_carry(agent, from, to).await?,
        }
    }
    Ok(empty())
}

fn rename(from: &GuestPath, to: &GuestPath) -> Result<Renamed, Failure> {
    let failed = |errno: Errno| failure_os(format_args!("move {from} to {to}"), &errno.into());
    let exists = || failure(FailureKind::Invalid, format!("move {from} to {to}: there is something already"));
    match renameat_with(CWD, from.as_str(), CWD, to.as_str(), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Renamed::Done),
        Err(Errno::EXIST) => Err(exists()),
        Err(Errno::XDEV) => {
            if found_at(to.as_str().as_ref()).is_ok() {
                return Err(exists());
            }
            match found_at(from.as_str().as_ref()).map(|found| type_of(&found)).map_err(failed)? {
                FileType::RegularFile => Ok(Renamed::Elsewhere),
                _ => {
                    let message = format!(
                        "move {from} to {to}: only files can go to another file system; use a command"
                    );
                    Err(failure(FailureKind::WrongType, message))
                }
            }
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// Copies a file with its mode, owner and time, then removes it.
async fn file_carry(agent: &Rc<Agent>, from: GuestPath, to: GuestPath) -> Result<(), HttpError> {
    let source = from.clone();
    let (file, _, mode) = agent.files.run(move || file_open(&source)).await?;
    let file: Arc<File> = Arc::new(file);
    let mut writing = Writing::new(&agent.files, false, to.clone(), Some(mode));
    let mut offset = 0;
    loop {
        let source = Arc::clone(&file);
        let piece = agent.files.run(move || piece_read(&source, offset, PIECE_BYTES)).await?;
        if piece.is_empty() {
            break;
        }
        offset += piece.len() as u64;
        writing.push(&piece).await;
    }
    writing.finish().await?;
    agent.files.run(move || file_replace(&file, &from, &to)).await?;
    Ok(())
}

/// Makes a copy's owner and time those of the file, and removes the file.
fn file_replace(file: &File, from: &GuestPath, to: &GuestPath) -> Result<(), Failure> {
    let failed = |error: std::io::Error| failure_os(format_args!("move {from} to {to}"), &error);
    let found = file.metadata().map_err(failed)?;
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    // As `mv` does, where that may not be.
    let _ = chownat(CWD, to.as_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    let times = Timestamps {
        last_access: Timespec { tv_sec: found.atime(), tv_nsec: found.atime_nsec() },
        last_modification: Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() },
    };
    let _ = utimensat(CWD, to.as_str(), &times, AtFlags::SYMLINK_NOFOLLOW);
    unlinkat(CWD, from.as_str(), AtFlags::empty()).map_err(|errno| failed(errno.into()))
}
