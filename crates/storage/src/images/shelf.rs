//! Where images are kept: their names, their layers, what was downloaded, and the lock between them.
//!
//! It must not know registries, nor how a layer is unpacked.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Digest, ImageConfig, ImageError, Platform, Reference, failed,
    hold::{digest_drop, is_held, used_digests},
};
use crate::layout::DataDir;

/// What layers are called while they are unpacked.
const NEW: &str = ".new-";
const LAYER_FILE: &str = "layer.json";
/// As old a download is kept that nobody has gone on with.
const PARTIAL_KEPT: Duration = Duration::from_hours(24);

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What it is called.
    pub name: String,
    /// The digest of its manifest, or of the archive that it was imported from.
    pub digest: Digest,
    /// What it is for.
    pub platform: Platform,
    /// What a program is started with.
    pub config: ImageConfig,
    /// Its layers, from the lowest on, each called by itself and all below it.
    pub layers: Vec<Digest>,
    /// About what its layers take on the disk; others may share them.
    pub bytes: u64,
    /// When it came here, in seconds since the epoch.
    pub pulled_at: u64,
}

/// What is known of a layer that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layer {
    /// What it was unpacked from.
    pub(super) blob: Digest,
    /// That without its compression.
    pub(super) diff_id: Digest,
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) skipped: u64,
    /// Nothing of the layers below shows.
    pub(super) hides_all: bool,
}

/// What removing an image came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// What its layers took; `None` if they stay until [`image_prune`], because another image is being pulled.
    pub freed_bytes: Option<u64>,
}

/// What tidying up came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Images that went.
    pub images: Vec<String>,
    /// How many layers and downloads went.
    pub items: usize,
    /// About what they took.
    pub freed_bytes: u64,
}

pub(super) struct Shelf {
    pub(super) root: PathBuf,
    /// Whose layers and snapshots lie on images.
    pub(super) data: DataDir,
}

impl Shelf {
    /// The one of `data`, its folders made where they are missing.
    pub(super) fn open(data: &DataDir) -> Result<Self, ImageError> {
        let root = data.images().as_path().to_owned();
        let inner = ["names", "digests", "layers", "partial"].map(|name| root.join(name));
        for folder in [root.clone()].into_iter().chain(inner) {
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create", &folder)(error));
                }
                _ => {}
            }
        }
        Ok(Self { root, data: data.clone() })
    }

    /// Keeps layers from being removed, until the file is closed.
    pub(super) fn lock_shared(&self) -> Result<File, ImageError> {
        let file = self.lock_file()?;
        file.lock_shared().map_err(failed("lock", &self.root))?;
        Ok(file)
    }

    /// Has the shelf alone, or [`ImageError::Busy`].
    fn lock_alone(&self) -> Result<File, ImageError> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ImageError::Busy),
            Err(TryLockError::Error(error)) => Err(failed("lock", &self.root)(error)),
        }
    }

    fn lock_file(&self) -> Result<File, ImageError> {
        let path = self.root.join("lock");
        let options = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        options.map_err(failed("open", &path))
    }

    pub(super) fn partial(&self, blob: &Digest) -> PathBuf {
        self.root.join("partial").join(blob.hex())
    }

    /// A place for a download whose digest is not known yet.
    pub(super) fn partial_new(&self) -> PathBuf {
        self.root.join("partial").join(format!(".new-{}", std::process::id()))
    }

    pub(super) fn layer_folder(&self, chain: &Digest) -> PathBuf {
        self.root.join("layers").join(chain.hex())
    }

    pub(super) fn layer_new(&self, chain: &Digest) -> PathBuf {
        self.root.join("layers").join(format!("{NEW}{}", chain.hex()))
    }

    /// The tree of a layer.
    pub(super) fn layer_tree(&self, chain: &Digest) -> PathBuf {
        self.layer_folder(chain).join("tree")
    }

    /// A layer, if it is here.
    pub(super) fn layer(&self, chain: &Digest) -> Option<Layer> {
        json_read(&self.layer_folder(chain).join(LAYER_FILE))
    }

    /// Puts a layer in its place: nobody sees it half.
    pub(super) fn layer_place(&self, chain: &Digest, layer: &Layer) -> Result<(), ImageError> {
        let (new, folder) = (self.layer_new(chain), self.layer_folder(chain));
        json_write(&new.join(LAYER_FILE), layer)?;
        // One call for thousands of files.
        File::open(&new)
            .and_then(|file| Ok(rustix::fs::syncfs(&file)?))
            .and_then(|()| fs::rename(&new, &folder))
            .map_err(failed("put in its place", &new))
    }

    /// Removes layers, as far as no image has them, if nothing goes on. It is not said where that fails: what is left
    /// is found again by [`image_prune`].
    pub(super) fn layers_drop(&self, chains: &[Digest]) -> Option<u64> {
        let _alone = self.lock_alone().ok()?;
        let used = self.chains_used().ok()?;
        let dropped = chains.iter().filter(|chain| !used.contains(*chain));
        Some(dropped.filter_map(|chain| self.layer_drop(chain)).sum())
    }

    fn layer_drop(&self, chain: &Digest) -> Option<u64> {
        let bytes = self.layer(chain)?.bytes;
        let folder = self.layer_folder(chain);
        // Nobody sees a layer that is half gone.
        let gone = self.layer_new(chain);
        fs::rename(&folder, &gone).and_then(|()| fs::remove_dir_all(&gone)).ok()?;
        Some(bytes)
    }

    fn chains_used(&self) -> Result<BTreeSet<Digest>, ImageError> {
        let named = self.images()?.into_iter();
        Ok(named.chain(self.images_in("digests")?).flat_map(|image| image.layers).collect())
    }

    pub(super) fn images(&self) -> Result<Vec<Image>, ImageError> {
        self.images_in("names")
    }

    pub(super) fn images_in(&self, folder: &str) -> Result<Vec<Image>, ImageError> {
        let folder = self.root.join(folder);
        let files = entries(&folder)?.into_iter().filter(|(_, name)| name.ends_with(".json"));
        let mut images: Vec<Image> = files.filter_map(|(path, _)| json_read(&path)).collect();
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// Gives an image its name, also one that another had.
    pub(super) fn image_place(&self, image: &Image) -> Result<(), ImageError> {
        // First, so that whatever has a name can be held.
        let held = self.digest_file(&image.digest);
        if !held.exists() {
            let new = held.with_extension(format!("{}.new", std::process::id()));
            json_write(&new, image)?;
            fs::rename(&new, &held)
                .and_then(|()| File::open(self.root.join("digests"))?.sync_all())
                .map_err(failed("put in its place", &held))?;
        }
        let path = self.image_file(&image.name);
        let new = path.with_extension(format!("{}.new", std::process::id()));
        json_write(&new, image)?;
        fs::rename(&new, &path)
            .and_then(|()| File::open(self.root.join("names"))?.sync_all())
            .map_err(failed("put in its place", &path))
    }

    /// What is known of an image by its digest. It never changes, and stays as long as anything lies on the image,
    /// whatever its name means meanwhile.
    pub(super) fn digest_file(&self, digest: &Digest) -> PathBuf {
        self.root.join("digests").join(format!("{}.json", digest.hex()))
    }

    pub(super) fn image_file(&self, name: &str) -> PathBuf {
        self.root.join("names").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }
}

/// The images that are here, by name.
///
/// # Errors
/// [`ImageError::Io`].
pub fn image_list(data: &DataDir) -> Result<Vec<Image>, ImageError> {
    let shelf = Shelf { root: data.images().as_path().to_owned(), data: data.clone() };
    shelf.images()
}

/// Removes an image, and those of its layers that no other has.
///
/// # Errors
/// [`ImageError::Unknown`], [`ImageError::InUse`], [`ImageError::Busy`] and [`ImageError::Io`].
pub fn image_remove(data: &DataDir, name: &Reference) -> Result<Removed, ImageError> {
    let shelf = Shelf::open(data)?;
    let name = name.to_string();
    let path = shelf.image_file(&name);
    let image: Image = json_read(&path).ok_or_else(|| ImageError::Unknown { name: name.clone() })?;
    let others = shelf.images()?.iter().filter(|other| other.digest == image.digest).count() - 1;
    if others == 0 && !digest_drop(&shelf, &image.digest)? {
        return Err(ImageError::InUse { name });
    }
    fs::remove_file(&path).map_err(failed("remove", &path))?;
    Ok(Removed { freed_bytes: shelf.layers_drop(&image.layers) })
}

/// Removes what no image needs: layers, what failures left, downloads that nobody has gone on with for a day, or with
/// `keep_bytes` all. Then the images that have been here longest, until the layers of the rest take no more than
/// `keep_bytes`.
///
/// # Errors
/// [`ImageError::Busy`] and [`ImageError::Io`].
pub fn image_prune(data: &DataDir, keep_bytes: Option<u64>) -> Result<Pruned, ImageError> {
    let shelf = Shelf::open(data)?;
    let _alone = shelf.lock_alone()?;
    let mut pruned = Pruned::default();
    if let Some(keep_bytes) = keep_bytes {
        images_shed(&shelf, keep_bytes, &mut pruned)?;
    }
    digests_shed(&shelf)?;
    let used = shelf.chains_used()?;
    for (path, name) in entries(&shelf.root.join("layers"))? {
        let chain = format!("sha256:{name}").parse::<Digest>();
        match chain {
            Ok(chain) if used.contains(&chain) => continue,
            Ok(chain) => pruned.freed_bytes += shelf.layer_drop(&chain).unwrap_or(0),
            Err(_) => fs::remove_dir_all(&path).map_err(failed("remove", &path))?,
        }
        pruned.items += 1;
    }
    for (path, name) in entries(&shelf.root.join("partial"))? {
        let found = fs::symlink_metadata(&path).map_err(failed("examine", &path))?;
        let is_old = found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > PARTIAL_KEPT));
        if is_old || keep_bytes.is_some() || name.starts_with('.') {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
            pruned.items += 1;
            pruned.freed_bytes += found.len();
        }
    }
    Ok(pruned)
}

/// Removes the names of the images that have been here longest.
fn images_shed(shelf: &Shelf, keep_bytes: u64, pruned: &mut Pruned) -> Result<(), ImageError> {
    let mut images = shelf.images()?;
    images.sort_by_key(|image| std::cmp::Reverse(image.pulled_at));
    let bytes_of = |images: &[Image]| {
        let chains: BTreeSet<&Digest> = images.iter().flat_map(|image| &image.layers).collect();
        chains.into_iter().filter_map(|chain| shelf.layer(chain)).map(|layer| layer.bytes).sum::<u64>()
    };
    // Those that something lies on stay, and count.
    let in_use = used_digests(&shelf.data)?;
    let mut kept = Vec::new();
    while bytes_of(&images) + bytes_of(&kept) > keep_bytes {
        let Some(oldest) = images.pop() else { break };
        if in_use.contains_key(&oldest.digest) || is_held(shelf, &oldest.digest)? {
            kept.push(oldest);
            continue;
        }
        let path = shelf.image_file(&oldest.name);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        pruned.images.push(oldest.name);
    }
    Ok(())
}

/// Forgets images that have no name any more, and that nothing lies on.
fn digests_shed(shelf: &Shelf) -> Result<(), ImageError> {
    let named: BTreeSet<Digest> = shelf.images()?.into_iter().map(|image| image.digest).collect();
    for image in shelf.images_in("digests")? {
        if !named.contains(&image.digest) {
            digest_drop(shelf, &image.digest)?;
        }
    }
    Ok(())
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Paths and names in a folder; none where it is missing.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>, ImageError> {
    let found = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed("list", folder))?,
    };
    let found = found.filter_map(Result::ok);
    Ok(found.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())).collect())
}

pub(super) fn json_read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn json_write(path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
    let write = || -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)?;
        bytes.push(b'\n');
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, &bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}
