//! Removes a whole folder.

use std::os::fd::AsFd;

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    io::Errno,
};

use super::{beneath, remove::Removal};
use crate::{
    failure::{failure, failure_os},
    files::Worker,
};

/// Removes a folder with all that is below it, in steps between which others are served. One that is not there is
/// removed already. What is mounted below stays, with the folders above it.
///
/// # Errors
/// A [`Failure`] when it is no folder, or something can't be removed.
pub(crate) async fn folder_remove(worker: &Worker, path: GuestPath) -> Result<(), Failure> {
    if path == GuestPath::root() {
        return Err(failure(FailureKind::Invalid, "remove /: it is the root"));
    }
    let target = path.clone();
    let removal = worker
        .run(move || match removal_begin(CWD, target.as_str().as_bytes()) {
            Ok(removal) => Ok(Some(removal)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failure_os(format_args!("remove {target}"), &errno.into())),
        })
        .await?;
    let Some(removal) = removal else { return Ok(()) };
    removal_run(worker, removal).await?;
    worker
        .run(move || match unlinkat(CWD, path.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failure_os(format_args!("remove {path}"), &errno.into())),
        })
        .await
}

/// Removes what is in a folder, in steps between which others are served.
///
/// # Errors
/// A [`Failure`] when something can't be removed.
pub(crate) async fn removal_run(worker: &Worker, mut removal: Removal) -> Result<(), Failure> {
    loop {
        let (returned, is_done) = worker
            .run(move || {
                let is_done = removal.step()?;
                Ok((removal, is_done))
            })
            .await?;
        removal = returned;
        if is_done {
            return Ok(());
        }
    }
}

/// Begins to remove what is in the folder that has a name in another.
///
/// # Errors
/// When it is no folder, or can't be read.
pub(crate) fn removal_begin(place: impl AsFd, name: &[u8]) -> Result<Removal, Errno> {
    let flags = beneath::FOLDER | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(place, name, flags, Mode::empty()) {
        Ok(folder) => Removal::new(&folder, None),
        Err(Errno::LOOP) => Err(Errno::NOTDIR),
        Err(errno) => Err(errno),
    }
}
