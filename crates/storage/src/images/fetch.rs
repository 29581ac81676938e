//! Downloads blobs: several at once, each going on where an earlier try ended, each compared with its digest.
//!
//! It must not know what is in them.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{Digest, ImageError, ask::Registry, failed, manifest::Descriptor, shelf::Shelf};
use crate::progress::{Progress, ProgressEvent};

/// As many downloads go on at once.
const PARALLEL: usize = 4;
/// As often a broken connection is made again without a byte having come.
const TRIES_MAX: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(150);
const PIECE_BYTES: usize = 256 << 10;

/// A file that is downloaded to, locked.
pub(super) struct Download {
    pub(super) blob: Descriptor,
    pub(super) path: PathBuf,
    file: File,
}

impl Download {
    /// Takes the file of a blob, and waits for whoever else has it. Of several they are to be taken in the order of
    /// their digests, by everybody.
    pub(super) fn take(
        shelf: &Shelf,
        blob: &Descriptor,
        name: &str,
        progress: &mut dyn Progress,
    ) -> Result<Self, ImageError> {
        let path = shelf.partial(&blob.digest);
        loop {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true).mode(0o600);
            let file = options.open(&path).map_err(failed("open", &path))?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                progress.report(ProgressEvent::Waiting { toolchain: name });
            }
            file.lock().map_err(failed("lock", &path))?;
            // Whoever had it may have removed it.
            let number = file.metadata().map_err(failed("examine", &path))?.ino();
            if fs::symlink_metadata(&path).is_ok_and(|there| there.ino() == number) {
                return Ok(Self { blob: blob.clone(), path, file });
            }
        }
    }

    /// Removes the file.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Keeps what came for another try.
    pub(super) fn keep(self) {
        if self.file.metadata().is_ok_and(|meta| meta.len() == 0) {
            self.discard();
        }
    }
}

/// Downloads all of these, or fails with the first that fails.
pub(super) fn fetch_all(
    registry: &Registry<'_>,
    downloads: &mut [Download],
    name: &str,
    progress: &mut dyn Progress,
) -> Result<(), ImageError> {
    let total_bytes = downloads.iter().map(|download| download.blob.size).sum();
    let common = Common { registry, done_bytes: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let next = AtomicUsize::new(0);
    let cells: Vec<_> = downloads.iter_mut().map(|download| std::sync::Mutex::new(Some(download))).collect();
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(cells.len()) {
            let (done, common, next, cells) = (done.clone(), &common, &next, &cells);
            scope.spawn(move || {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let taken = cell.lock().ok().and_then(|mut cell| cell.take());
                    let result = taken.map_or(Ok(()), |download| common.fetch(download));
                    if result.is_err() {
                        common.stop.store(true, Ordering::Relaxed);
                    }
                    let _ = done.send(result);
                }
            });
        }
        drop(done);
        let mut result = Ok(());
        loop {
            let done_bytes = common.done_bytes.load(Ordering::Relaxed);
            progress.report(ProgressEvent::Downloading { package: name, done_bytes, total_bytes });
            match ended.recv_timeout(LOOK_EVERY) {
                Ok(one) => result = result.and(one),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return result,
            }
        }
    })
}

/// What all downloads of a pull share.
struct Common<'a> {
    registry: &'a Registry<'a>,
    done_bytes: AtomicU64,
    /// One has failed: the others need not go on.
    stop: AtomicBool,
}

impl Common<'_> {
    fn fetch(&self, download: &mut Download) -> Result<(), ImageError> {
        let started_at = download.file.metadata().map_err(failed("examine", &download.path))?.len();
        match self.fetch_once(download) {
            // What an earlier try has left may be damaged.
            Err(ImageError::Digest { .. }) if started_at > 0 => {
                download.file.set_len(0).map_err(failed("empty", &download.path))?;
                self.fetch_once(download)
            }
            result => result,
        }
    }

    fn fetch_once(&self, download: &mut Download) -> Result<(), ImageError> {
        let Download { blob, path, file } = download;
        let (mut hasher, mut length) = there(file, blob.size).map_err(failed("read", path))?;
        self.done_bytes.fetch_add(length, Ordering::Relaxed);
        let mut tries = 0;
        while length < blob.size && !self.stop.load(Ordering::Relaxed) {
            let before = length;
            match self.fetch_rest(blob, file, path, &mut hasher, &mut length) {
                Err(ImageError::Transport { .. }) if length > before => tries = 0,
                Err(error @ ImageError::Transport { .. }) if tries + 1 >= TRIES_MAX => return Err(error),
                Err(ImageError::Transport { .. }) => {
                    thread::sleep(PAUSE * 2_u32.pow(tries));
                    tries += 1;
                }
                result => result?,
            }
        }
        if length < blob.size {
            // Another one has failed, and says why.
            return Ok(());
        }
        let found = Digest::from_hasher(hasher);
        if found == blob.digest {
            return Ok(());
        }
        self.done_bytes.fetch_sub(length, Ordering::Relaxed);
        Err(ImageError::Digest {
            what: format!("the layer from {}", self.registry.name()),
            expected: blob.digest.clone(),
            found,
        })
    }

    /// Reads what is missing from one answer.
    fn fetch_rest(
        &self,
        blob: &Descriptor,
        file: &mut File,
        path: &std::path::Path,
        hasher: &mut Sha256,
        length: &mut u64,
    ) -> Result<(), ImageError> {
        let (mut reader, is_rest) = self.registry.blob(blob, *length)?;
        if *length > 0 && !is_rest {
            // This registry does not give parts.
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed("empty", path))?;
            self.done_bytes.fetch_sub(*length, Ordering::Relaxed);
            (*hasher, *length) = (Sha256::new(), 0);
        }
        let mut piece = vec![0; PIECE_BYTES];
        while *length < blob.size && !self.stop.load(Ordering::Relaxed) {
            let bytes = match reader.read(&mut piece) {
                Ok(0) => return Err(self.registry.broken(&"the connection ended too early")),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.registry.broken(&error)),
            };
            // More than was announced is not read.
            let bytes = bytes.min(usize::try_from(blob.size - *length).unwrap_or(usize::MAX));
            file.write_all(&piece[..bytes]).map_err(failed("write", path))?;
            hasher.update(&piece[..bytes]);
            *length += bytes as u64;
            self.done_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The hash and the length of what is there already. More than there should be is nothing.
fn there(file: &mut File, size: u64) -> io::Result<(Sha256, u64)> {
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hasher, file.stream_position()?)),
            bytes => hasher.update(&piece[..bytes]),
        }
    }
}
