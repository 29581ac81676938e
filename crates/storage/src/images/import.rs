//! Imports a root file system from an archive: a tar, as it is or packed with gzip or zstd.
//!
//! It must not know where the archive comes from.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    Digest, Image, ImageConfig, ImageError, ImagePrograms, Platform, Reference, failed,
    fetch::Download,
    layer::{Source, chain_of},
    manifest::Descriptor,
    pull::{Made, room},
    shelf::{Shelf, now},
};
use crate::{
    layout::DataDir,
    progress::{Progress, ProgressEvent},
};

const PIECE_BYTES: usize = 256 << 10;

/// Makes an image of the root file system that comes from `input`, and calls it `name`.
///
/// # Errors
/// [`ImageError`].
pub fn image_import(
    data: &DataDir,
    name: &Reference,
    input: &mut dyn Read,
    bytes_max: Option<u64>,
    programs: ImagePrograms,
    progress: &mut dyn Progress,
) -> Result<Image, ImageError> {
    let shelf = Shelf::open(data)?;
    let shared = shelf.lock_shared()?;
    let name = name.to_string();
    let bytes_max = room(data, bytes_max);
    let copy = Copy::of(input, shelf.partial_new(), bytes_max)?;
    let lock = Download::take(&shelf, &copy.blob, &name, progress)?;
    let mut made = Made { shelf: &shelf, name: &name, programs, progress, layers: Vec::new() };
    let result = import(&copy, bytes_max, &mut made);
    let layers = made.layers;
    lock.discard();
    if result.is_err() {
        drop(shared);
        let _ = shelf.layers_drop(&layers);
    } else {
        progress.report(ProgressEvent::Installed { toolchain: &name });
    }
    result
}

fn import(copy: &Copy, bytes_max: u64, made: &mut Made<'_>) -> Result<Image, ImageError> {
    let blob = &copy.blob.digest;
    let chain = chain_of(None, blob);
    let source = Source { blob, file: &copy.path, diff_id: None, below: &[], bytes_max };
    let (bytes, _) = made.layer(&chain, &source)?;
    let image = Image {
        name: made.name.to_owned(),
        digest: blob.clone(),
        platform: Platform::here(),
        config: ImageConfig::default(),
        layers: vec![chain],
        bytes,
        pulled_at: now(),
    };
    made.shelf.image_place(&image)?;
    Ok(image)
}

/// A copy of the archive, which goes when this value does.
struct Copy {
    path: PathBuf,
    blob: Descriptor,
}

impl Copy {
    fn of(input: &mut dyn Read, path: PathBuf, bytes_max: u64) -> Result<Self, ImageError> {
        let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let mut file = file.map_err(failed("create", &path))?;
        let blob = Descriptor { media_type: String::new(), digest: Digest::of(b""), size: 0 };
        // From here on it is removed whatever happens.
        let mut copy = Self { path, blob };
        let mut hasher = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let bytes = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed("read", Path::new("the archive"))(error)),
            };
            copy.blob.size += bytes as u64;
            if copy.blob.size > bytes_max {
                return Err(failed("copy", Path::new("the archive"))(io::ErrorKind::FileTooLarge.into()));
            }
            hasher.update(&piece[..bytes]);
            file.write_all(&piece[..bytes]).map_err(failed("write", &copy.path))?;
        }
        copy.blob.digest = Digest::from_hasher(hasher);
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
