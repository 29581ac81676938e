//! Who needs an image: what runs from it holds its file, layers and snapshots that lie on it have its digest as an
//! attribute. An image that is needed is not removed.
//!
//! It must not know what a sandbox is otherwise.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::Duration,
};

use protocol::{HostPath, image::ImageDigest};
use rustix::{fs::getxattr, io::Errno};

use super::{
    Digest, Image, ImageError, Reference, failed,
    shelf::{Shelf, json_read},
};
use crate::layout::DataDir;

/// The attribute of a layer, or a snapshot of one, that says which image it lies on. Only the host's root can set it.
pub const IMAGE_ATTRIBUTE: &str = "trusted.atoll.image";

/// Whoever removes images looks whether one is held for no longer than a few of these.
const LOOK: Duration = Duration::from_millis(2);
const LOOKS: u32 = 25;

/// An image that is not removed as long as this lives.
#[derive(Debug)]
pub struct HeldImage {
    /// The trees of its layers, from the highest on.
    pub trees: Vec<HostPath>,
    /// What holds it.
    pub hold: File,
}

/// Holds the image of this digest.
///
/// # Errors
/// [`ImageError::Unknown`], [`ImageError::Busy`] and [`ImageError::Io`].
pub fn image_hold(data: &DataDir, digest: &ImageDigest) -> Result<HeldImage, ImageError> {
    let shelf = Shelf { root: data.images().as_path().to_owned(), data: data.clone() };
    let digest = Digest::from(*digest);
    let unknown = || ImageError::Unknown { name: digest.to_string() };
    let path = shelf.digest_file(&digest);
    let hold = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
        opened => opened.map_err(failed("open", &path))?,
    };
    let mut looks = 0;
    loop {
        match hold.try_lock_shared() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if looks < LOOKS => {
                looks += 1;
                thread::sleep(LOOK);
            }
            Err(TryLockError::WouldBlock) => return Err(ImageError::Busy),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
    }
    // It may have been removed before it was held.
    let is_there = fs::metadata(&path).and_then(|there| Ok(there.ino() == hold.metadata()?.ino()));
    let image: Image = json_read(&path).filter(|_| is_there.unwrap_or(false)).ok_or_else(unknown)?;
    let trees: Vec<HostPath> =
        image.layers.iter().rev().map(|chain| HostPath::new(shelf.layer_tree(chain))).collect();
    if trees.is_empty() || !trees.iter().all(|tree| tree.as_path().is_dir()) {
        return Err(unknown());
    }
    Ok(HeldImage { trees, hold })
}

/// The image that is called so.
///
/// # Errors
/// [`ImageError::Unknown`].
pub fn image_find(data: &DataDir, name: &Reference) -> Result<Image, ImageError> {
    let shelf = Shelf { root: data.images().as_path().to_owned(), data: data.clone() };
    let name = name.to_string();
    json_read(&shelf.image_file(&name)).ok_or(ImageError::Unknown { name })
}

/// The image of this digest.
///
/// # Errors
/// [`ImageError::Unknown`].
pub fn image_get(data: &DataDir, digest: &ImageDigest) -> Result<Image, ImageError> {
    let shelf = Shelf { root: data.images().as_path().to_owned(), data: data.clone() };
    let digest = Digest::from(*digest);
    json_read(&shelf.digest_file(&digest)).ok_or_else(|| ImageError::Unknown { name: digest.to_string() })
}

/// How many layers and snapshots lie on each image.
///
/// # Errors
/// [`ImageError::Io`].
pub fn image_uses(data: &DataDir) -> Result<BTreeMap<Digest, usize>, ImageError> {
    used_digests(data)
}

pub(super) fn used_digests(data: &DataDir) -> Result<BTreeMap<Digest, usize>, ImageError> {
    let mut used = BTreeMap::new();
    for folder in [data.sandboxes(), data.snapshots()] {
        let entries = match fs::read_dir(folder.as_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed("list", folder.as_path()))?,
        };
        for entry in entries.filter_map(Result::ok) {
            if let Some(digest) = lies_on(&entry.path())? {
                *used.entry(digest).or_insert(0) += 1;
            }
        }
    }
    Ok(used)
}

/// The image that a layer lies on.
fn lies_on(layer: &Path) -> Result<Option<Digest>, ImageError> {
    let mut text = [0; 128];
    match getxattr(layer, IMAGE_ATTRIBUTE, &mut text) {
        Ok(length) => Ok(std::str::from_utf8(&text[..length]).ok().and_then(|text| text.parse().ok())),
        // It went meanwhile, or lies on none.
        Err(Errno::NOENT | Errno::NODATA | Errno::OPNOTSUPP | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(failed("examine", layer)(errno.into())),
    }
}

/// Whether something runs from it.
pub(super) fn is_held(shelf: &Shelf, digest: &Digest) -> Result<bool, ImageError> {
    Ok(alone(shelf, digest)?.is_none() && shelf.digest_file(digest).exists())
}

/// The file of an image, held alone; none if another holds it, or there is none.
fn alone(shelf: &Shelf, digest: &Digest) -> Result<Option<File>, ImageError> {
    let path = shelf.digest_file(digest);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", &path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// Forgets an image, unless it is needed. Returns whether it is gone.
pub(super) fn digest_drop(shelf: &Shelf, digest: &Digest) -> Result<bool, ImageError> {
    let path = shelf.digest_file(digest);
    let Some(_alone) = alone(shelf, digest)? else { return Ok(!path.exists()) };
    // Nobody begins to need it now: whoever does holds it first.
    if used_digests(&shelf.data)?.contains_key(digest) {
        return Ok(false);
    }
    fs::remove_file(&path).map_err(failed("remove", &path))?;
    Ok(true)
}
