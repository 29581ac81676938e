//! Writes a regular file from a stream of frames, in constant memory: into a draft beside it, which takes
//! its name when the last byte has come. Whoever opens the path sees the old content or the new, no part.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
    frame::Kind,
};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, lstat, openat, renameat,
        unlinkat,
    },
    io::Errno,
};

use super::{Begun, FOLDER_MODE, JOB_BYTES, MODE_BITS, Owner, Worker, folders_make_for, mode_check};
use crate::{
    failure::{failure, failure_os},
    wire::{FrameReader, WireError},
    workspace::Place,
};

/// A file of at most this much is small.
const SMALL_BYTES: usize = 64 << 10;
/// Permission bits of a file of which nothing is said.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o644);
/// As many links one after the other as the kernel follows: path_resolution(7).
pub(crate) const LINKS_MAX: usize = 40;
/// How the names of files begin that are being written.
const DRAFT_PREFIX: &str = ".atoll-write-";
/// The same, and there is nothing of the name that they get.
const NEW_PREFIX: &str = ".atoll-write-new-";

/// Whether a name is that of a file, or a tree, that is being written by an agent.
pub(crate) fn is_draft(name: &[u8]) -> bool {
    name.starts_with(DRAFT_PREFIX.as_bytes()) || name.starts_with(crate::tree::DRAFT_PREFIX.as_bytes())
}

/// Whether a name is that of a file that will be the first of its name.
pub(crate) fn is_draft_of_new(name: &[u8]) -> bool {
    name.starts_with(NEW_PREFIX.as_bytes())
}

/// Takes input frames until their end and makes them the content of the file. `alone` says that no exec runs.
///
/// # Errors
/// [`WireError`] when the connection breaks before the end, and then the file is as it was; a [`Failure`]
/// inside when it can't be written, after all input was taken.
pub(crate) async fn file_write(
    worker: &Worker,
    alone: bool,
    reader: &mut FrameReader<'_>,
    target: impl Into<Target>,
    mode: Option<u32>,
) -> Result<Result<(), Failure>, WireError> {
    let mut writing = Writing::new(worker, alone, target, mode);
    loop {
        let Some(header) = reader.header().await? else {
            return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into()));
        };
        match header.kind {
            Kind::Input => loop {
                let piece = reader.piece().await?;
                if piece.is_empty() {
                    break;
                }
                let taken = piece.len();
                writing.push(piece).await;
                reader.consume(taken);
            },
            Kind::InputEnd => return Ok(writing.finish().await),
            kind => return Err(WireError::Unexpected(kind)),
        }
    }
}

/// A write in progress, as the connection sees it. Dropped before it is finished, it leaves the file as it was.
///
/// While one chunk is written the next is filled, so that a stream costs the time of the slower of the two: taking it
/// apart, or writing it.
pub(crate) struct Writing<'a> {
    worker: &'a Worker,
    /// No exec runs whose output a slow disk could hold up.
    alone: bool,
    /// `None` while the thread has it.
    stage: Option<Stage>,
    /// What the thread does, and gives back with the chunk that it has written.
    step: Option<Begun<(Stage, Vec<u8>)>>,
    /// Being filled.
    chunk: Vec<u8>,
    /// Empty: the next chunk's place.
    spare: Vec<u8>,
}

impl<'a> Writing<'a> {
    /// Begins to write a file. Without a mode the file keeps the one that it has. `alone` says that no exec runs.
    pub(crate) fn new(worker: &'a Worker, alone: bool, target: impl Into<Target>, mode: Option<u32>) -> Self {
        let stage = Some(Stage::Wanted { target: target.into(), mode, owner: None });
        Self { worker, alone, stage, step: None, chunk: Vec::new(), spare: Vec::new() }
    }

    /// Whose the file is if there is none yet, and the folders that are made for it; else the agent's.
    pub(crate) fn owned_by(mut self, new_owner: Option<Owner>) -> Self {
        if let Some(Stage::Wanted { owner, .. }) = &mut self.stage {
            *owner = new_owner;
        }
        self
    }

    /// Adds bytes. What is wrong shows at the end.
    pub(crate) async fn push(&mut self, bytes: &[u8]) {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= JOB_BYTES {
            self.step(Stage::write).await;
        }
    }

    /// Gives the file its content and name.
    ///
    /// # Errors
    /// A [`Failure`] when it could not be written; then it is as it was.
    pub(crate) async fn finish(mut self) -> Result<(), Failure> {
        self.last_step().await;
        self.settle().await;
        match self.stage.take() {
            Some(Stage::Failed(failure)) => Err(failure),
            Some(Stage::Committed) => Ok(()),
            Some(Stage::Wanted { .. } | Stage::Open(_)) | None => {
                Err(failure(FailureKind::Other, "the write was interrupted"))
            }
        }
    }

    /// Has the thread do a step with the chunk, after the one that it is at, and begins another chunk.
    async fn step(&mut self, step: impl FnOnce(Stage, &[u8]) -> Stage + Send + 'static) {
        self.settle().await;
        let Some(stage) = self.stage.take() else { return };
        let chunk = std::mem::replace(&mut self.chunk, std::mem::take(&mut self.spare));
        self.step = Some(self.worker.begin(move || (step(stage, &chunk), chunk)));
    }

    /// Waits for what the thread is at.
    async fn settle(&mut self) {
        let Some(step) = &mut self.step else { return };
        let (stage, mut chunk) =
            step.end().await.unwrap_or_else(|failure| (Stage::Failed(failure), Vec::new()));
        chunk.clear();
        (self.step, self.stage, self.spare) = (None, Some(stage), chunk);
    }

    /// Writes what is left and gives the file its name. A small file is all of it; starting the thread would
    /// cost more than writing it, so it is written here where that holds up nobody.
    async fn last_step(&mut self) {
        match &self.stage {
            Some(Stage::Wanted { .. }) if self.alone && self.chunk.len() <= SMALL_BYTES => {
                self.stage = self.stage.take().map(|stage| stage.write(&self.chunk).commit());
            }
            _ => self.step(|stage, chunk| stage.write(chunk).commit()).await,
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // Removes the draft, where a slow disk stalls nothing.
        match (self.stage.take(), self.step.take()) {
            (Some(stage @ Stage::Open(_)), _) => self.worker.submit(Box::new(move || drop(stage))),
            (_, Some(step)) => self.worker.submit(Box::new(move || drop(step))),
            _ => {}
        }
    }
}

/// How far a write has come.
enum Stage {
    /// Nothing was done: the file is opened with the first bytes, so that a small one is one step.
    Wanted {
        target: Target,
        mode: Option<u32>,
        owner: Option<Owner>,
    },
    Open(Draft),
    Committed,
    /// What comes is taken and dropped.
    Failed(Failure),
}

impl Stage {
    fn write(self, bytes: &[u8]) -> Self {
        let opened = match self {
            Self::Wanted { target, mode, owner } => {
                let mode = mode.map(|mode| mode_check(&target.shown(), mode)).transpose();
                mode.and_then(|mode| Draft::open(&target, mode, owner))
            }
            Self::Open(draft) => Ok(draft),
            Self::Committed | Self::Failed(_) => return self,
        };
        match opened.and_then(|draft| draft.write(bytes)) {
            Ok(draft) => Self::Open(draft),
            Err(failure) => Self::Failed(failure),
        }
    }

    fn commit(self) -> Self {
        match self {
            Self::Open(draft) => draft.commit().map_or_else(Self::Failed, |()| Self::Committed),
            other => other,
        }
    }
}

/// Where a write goes.
pub(crate) enum Target {
    /// A path, its links followed as any program follows them.
    Path(GuestPath),
    /// A name below a folder, which nothing leaves.
    Below { root: GuestPath, path: Vec<u8> },
}

impl From<GuestPath> for Target {
    fn from(path: GuestPath) -> Self {
        Self::Path(path)
    }
}

impl Target {
    /// As the request names it.
    fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.to_string(),
            Self::Below { path, .. } => protocol::entry_name::shown(path),
        }
    }

    /// The open folder and the name that the file gets in it, and what has the name now. Folders that are missing are
    /// made.
    fn resolve(&self, owner: Option<Owner>) -> Result<(Place, Option<Stat>), Failure> {
        let what = format!("write {}", self.shown());
        let failed = |errno: Errno| failure_os(&what, &errno.into());
        let (place, found) = match self {
            Self::Path(path) => {
                let target = link_resolve(path)?;
                let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
                    return Err(failure(FailureKind::WrongType, format!("{what}: it is a folder")));
                };
                // Nothing is made for what can't be written.
                let found = match lstat(&target) {
                    Ok(found) => Some(file_check(&what, found, FailureKind::WrongType)?),
                    Err(Errno::NOENT) => None,
                    Err(errno) => return Err(failed(errno)),
                };
                let folder = folder_open(parent, owner)?;
                (Place { folder, name: name.as_bytes().to_vec() }, found)
            }
            Self::Below { root, path } => {
                let place = Place::to_write(root, path, &what)?;
                let found = place.stat().map_err(failed)?;
                (place, found.map(|found| file_check(&what, found, FailureKind::Folder)).transpose()?)
            }
        };
        Ok((place, found))
    }
}

/// Whether what is there can be replaced by a file; `folder` says that it is one.
fn file_check(what: &str, found: Stat, folder: FailureKind) -> Result<Stat, Failure> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(found),
        FileType::Directory if folder == FailureKind::Folder => {
            Err(failure(folder, format!("{what}: it is a folder")))
        }
        _ => Err(failure(FailureKind::WrongType, format!("{what}: it is not a regular file"))),
    }
}

/// A file that has not got its name yet. Dropped, it is gone.
struct Draft {
    /// As the request names it.
    shown: String,
    mode: Mode,
    file: File,
    /// The name it gets.
    place: Place,
    /// Its name for now, in the same folder.
    name: String,
    is_committed: bool,
}

impl Draft {
    fn open(target: &Target, mode: Option<Mode>, owner: Option<Owner>) -> Result<Self, Failure> {
        let shown = target.shown();
        let (place, replaced) = target.resolve(owner)?;
        let (name, file) = draft_create(&place.folder, replaced.is_none())
            .map_err(|errno| failure_os(format_args!("make a file beside {shown}"), &errno.into()))?;
        let kept = replaced
            .as_ref()
            .map(|found| Mode::from_raw_mode(found.st_mode) & Mode::from_bits_truncate(MODE_BITS));
        let mode = mode.or(kept).unwrap_or(FILE_MODE);
        let kept = replaced.map(|found| (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid)));
        if let Some((uid, gid)) = kept.or(owner) {
            // As an ordinary write, it leaves the file with its owner; where that can't be, with the agent.
            let _ = fchown(&file, Some(uid), Some(gid));
        }
        Ok(Self { shown, mode, file, place, name, is_committed: false })
    }

    fn write(mut self, bytes: &[u8]) -> Result<Self, Failure> {
        self.file.write_all(bytes).map_err(|error| self.failure(&error))?;
        Ok(self)
    }

    fn commit(mut self) -> Result<(), Failure> {
        fchmod(&self.file, self.mode)
            .and_then(|()| renameat(&self.place.folder, &self.name, &self.place.folder, &self.place.name[..]))
            .map_err(|errno| self.failure(&errno.into()))?;
        self.is_committed = true;
        Ok(())
    }

    fn failure(&self, error: &io::Error) -> Failure {
        failure_os(format_args!("write {}", self.shown), error)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_committed {
            let _ = unlinkat(&self.place.folder, &self.name, AtFlags::empty());
        }
    }
}

/// The path that a write goes to: through symbolic links, one after the other, to where the last one leads,
/// whether or not that exists. Links in the folders above are the kernel's to follow.
fn link_resolve(path: &GuestPath) -> Result<PathBuf, Failure> {
    let mut target = PathBuf::from(path.as_str());
    for _ in 0..LINKS_MAX {
        match fs::read_link(&target) {
            Ok(link) => {
                target.pop();
                target.push(link);
            }
            // No link, or nothing there.
            Err(_) => return Ok(target),
        }
    }
    Err(failure_os(format_args!("write {path}"), &Errno::LOOP.into()))
}

/// Opens a folder, made if it does not exist.
fn folder_open(path: &Path, owner: Option<Owner>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).or_else(|errno| match errno {
        Errno::NOENT => {
            folders_make_for(path, FOLDER_MODE, owner)?;
            openat(CWD, path, flags, Mode::empty()).map_err(|errno| (errno, path)).map_err(folder_failure)
        }
        errno => Err(folder_failure((errno, path))),
    })
}

fn folder_failure((errno, path): (Errno, &Path)) -> Failure {
    failure_os(format_args!("open the folder {}", path.display()), &errno.into())
}

/// Makes an empty file with a name that is not in use. Its name is short, whatever the target's: a long one
/// with something added could be too long. It says whether the target is new: whoever watches the folder sees that.
fn draft_create(folder: impl AsFd, is_new: bool) -> Result<(String, File), Errno> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let prefix = if is_new { NEW_PREFIX } else { DRAFT_PREFIX };
        let name = format!("{prefix}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        match openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok((name, file.into())),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}
