//! Removes what has a name below a folder.

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
    entry_name::shown,
};
use rustix::{
    fs::{AtFlags, unlinkat},
    io::Errno,
};

use super::place::{self, Place};
use crate::{
    failure::failure,
    files::Worker,
    tree::{Removal, removal_begin, removal_run},
};

/// What is left to do.
enum Rest {
    Nothing,
    Folder(Place, Box<Removal>),
}

/// Removes a file, a link, or a folder with all below it, in steps between which others are served.
///
/// # Errors
/// A [`Failure`] when there is none, or something of it can't be removed.
pub(crate) async fn workspace_remove(worker: &Worker, root: GuestPath, path: Vec<u8>) -> Result<(), Failure> {
    let what = format!("remove {}", shown(&path));
    let told = what.clone();
    let begun = worker.run(move || begin(&root, &path, &told)).await?;
    let Rest::Folder(place, removal) = begun else { return Ok(()) };
    removal_run(worker, *removal).await?;
    worker
        .run(move || match unlinkat(&place.folder, &place.name[..], AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(place::failure_of(&what, errno)),
        })
        .await
}

fn begin(root: &GuestPath, path: &[u8], what: &str) -> Result<Rest, Failure> {
    let place = Place::of(root, path, what)?;
    let failed = |errno| place::failure_of(what, errno);
    let Some(found) = place.stat().map_err(failed)? else {
        return Err(failure(FailureKind::NotFound, format!("{what}: there is none")));
    };
    if place::is_folder(&found) {
        let removal = removal_begin(&place.folder, &place.name).map_err(failed)?;
        return Ok(Rest::Folder(place, Box::new(removal)));
    }
    unlinkat(&place.folder, &place.name[..], AtFlags::empty()).map_err(failed)?;
    Ok(Rest::Nothing)
}
