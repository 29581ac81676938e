//! Removes a whole folder.

use std::os::fd::OwnedFd;

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, open, unlinkat},
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
    let removal = worker.run(move || removal_begin(&target)).await?;
    let Some(mut removal) = removal else { return Ok(()) };
    loop {
        let (returned, is_done) = worker
            .run(move || {
                let is_done = removal.step()?;
                Ok((removal, is_done))
            })
            .await?;
        removal = returned;
        if is_done {
            break;
        }
    }
    worker
        .run(move || match unlinkat(CWD, path.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failure_os(format_args!("remove {path}"), &errno.into())),
        })
        .await
}

fn removal_begin(path: &GuestPath) -> Result<Option<Removal>, Failure> {
    let flags = beneath::FOLDER | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno: Errno| failure_os(format_args!("remove {path}"), &errno.into());
    let folder: OwnedFd = match open(path.as_str(), flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(failed(Errno::NOTDIR)),
        Err(errno) => return Err(failed(errno)),
    };
    Removal::new(&folder, None).map(Some).map_err(failed)
}
