//! A tree while it is unpacked: in a folder of its own beside or inside its place, closed to other users.
//!
//! Everything is opened and made through [`beneath`], each name in a folder that was reached without a
//! symbolic link: no archive writes through a link, were it one of its own.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, fchmod, linkat, mkdirat, mknodat, openat, statat, symlinkat,
        unlinkat,
    },
    io::Errno,
};

use super::{
    DRAFT_PREFIX, beneath,
    entry::{Attributes, Entry, Kind, Time},
    metadata, name,
    parse::{Unpack, refusal},
    remove::Removal,
    sparse::SparseWriter,
};
use crate::{
    failure::{failure, failure_os},
    files::FOLDER_MODE,
};

/// What an entry counts beside its content, names and attributes: about what a file system needs for one.
const ENTRY_BYTES: u64 = 512;
/// What may be remembered of folders until all is unpacked: enough for more than 200,000.
const FOLDERS_BYTES_MAX: usize = 32 << 20;
/// What a remembered folder takes beside its name.
const FOLDER_BYTES: usize = 96;

/// What an archive says of a folder, and waits until all is unpacked: a mode or an access list would be in
/// the way of what comes below, and that would change the time.
pub(super) struct Stated {
    mode: u32,
    modified: Time,
    attributes: Attributes,
}

impl Stated {
    pub(super) fn set(&self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        metadata::attributes_set(folder, &self.attributes)?;
        metadata::mode_and_time_set(folder, self.mode, self.modified)
    }
}

/// A folder that is being filled.
pub(super) struct Draft {
    home: OwnedFd,
    name: String,
    root: OwnedFd,
    bytes_max: Option<u64>,
    bytes: u64,
    /// The folder of the entry before, which most often is that of the next.
    place: Option<(Vec<u8>, OwnedFd)>,
    file: Option<(SparseWriter, Entry)>,
    folders: HashMap<Vec<u8>, Stated>,
    folders_bytes: usize,
}

impl Draft {
    /// Makes an empty one for a tree at `path`: in that folder, or where it doesn't exist yet in the first
    /// above that does, and so on the file system where it is going to stay.
    ///
    /// # Errors
    /// When that can't be.
    pub(super) fn new(path: &GuestPath, bytes_max: Option<u64>) -> Result<Self, Failure> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let home = home_open(path)?;
        let failed = |errno: Errno| failure_os(format_args!("make a folder for {path}"), &errno.into());
        let name = loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{DRAFT_PREFIX}{}-{number}", std::process::id());
            match mkdirat(&home, &name, Mode::RWXU) {
                Ok(()) => break name,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        };
        let root = beneath::open(&home, name.as_bytes(), beneath::FOLDER, Mode::empty()).map_err(failed)?;
        Ok(Self {
            home,
            name,
            root,
            bytes_max,
            bytes: 0,
            place: None,
            file: None,
            folders: HashMap::new(),
            folders_bytes: 0,
        })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Its name where it is for now.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the archive says of a folder; `None` if only of what is below.
    pub(super) fn stated(&self, folder: &[u8]) -> Option<&Stated> {
        self.folders.get(folder)
    }

    /// Gives folders what had to wait.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(super) fn folders_finish(&self) -> Result<(), Failure> {
        for (path, stated) in &self.folders {
            beneath::open(&self.root, path, beneath::FOLDER, Mode::empty())
                .and_then(|folder| stated.set(folder.as_fd()))
                .map_err(|errno| unpack_failure(path, errno))?;
        }
        Ok(())
    }

    /// What is left of it, to be removed.
    pub(super) fn into_discarded(self) -> Option<Discarded> {
        let removal = Removal::new(&self.root, None).ok()?;
        Some(Discarded { removal, home: self.home, name: self.name })
    }

    /// Counts what takes room.
    fn charge(&mut self, path: &[u8], bytes: u64) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes_max {
            Some(bytes_max) if self.bytes > bytes_max => {
                let message = format!(
                    "refuse the archive: {}: it unpacks to more than {bytes_max} bytes",
                    name::shown(path)
                );
                Err(failure(FailureKind::LimitReached, message))
            }
            _ => Ok(()),
        }
    }

    /// Makes the folder of an entry the current one, and returns the entry's name in it.
    fn enter<'a>(&mut self, path: &'a [u8]) -> Result<&'a [u8], Failure> {
        let (folder, name) = name::split(path);
        if self.place.as_ref().is_some_and(|(current, _)| current == folder) {
            return Ok(name);
        }
        let opened = match beneath::open(&self.root, folder, beneath::PLACE, Mode::empty()) {
            Err(Errno::NOENT) => {
                self.folders_make(path, folder)?;
                beneath::open(&self.root, folder, beneath::PLACE, Mode::empty())
            }
            opened => opened,
        };
        let opened = opened.map_err(|errno| place_failure(path, errno))?;
        self.place = Some((folder.to_vec(), opened));
        Ok(name)
    }

    /// Makes the folders that an archive has no entry of.
    fn folders_make(&mut self, path: &[u8], folder: &[u8]) -> Result<(), Failure> {
        let slashes = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        for end in slashes.chain([folder.len()]) {
            let (above, name) = name::split(&folder[..end]);
            let above = beneath::open(&self.root, above, beneath::PLACE, Mode::empty())
                .map_err(|errno| place_failure(path, errno))?;
            match mkdirat(&above, name, Mode::RWXU) {
                Ok(()) => {
                    self.charge(path, ENTRY_BYTES)?;
                    // Not narrowed by the agent's umask.
                    beneath::open(&above, name, beneath::FOLDER, Mode::empty())
                        .and_then(|made| fchmod(made, FOLDER_MODE))
                        .map_err(|errno| unpack_failure(path, errno))?;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(unpack_failure(path, errno)),
            }
        }
        Ok(())
    }

    fn folder_begin(&mut self, entry: Entry) -> Result<(), Failure> {
        // What the archive says of the tree's own folder is left: that stays as it is.
        if entry.path.is_empty() {
            return Ok(());
        }
        let name = self.enter(&entry.path)?;
        let Some((_, place)) = &self.place else { return Ok(()) };
        match mkdirat(place, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(unpack_failure(&entry.path, errno)),
        }
        let folder =
            beneath::open(place, name, beneath::FOLDER, Mode::empty()).map_err(|errno| match errno {
                Errno::NOTDIR | Errno::LOOP => refusal(&format!(
                    "{}: it is a folder, and was something else before",
                    name::shown(&entry.path)
                )),
                errno => unpack_failure(&entry.path, errno),
            })?;
        metadata::owner_set(folder.as_fd(), entry.uid, entry.gid)
            .map_err(|errno| unpack_failure(&entry.path, errno))?;
        self.folders_bytes += entry.metadata_bytes() + FOLDER_BYTES;
        if self.folders_bytes > FOLDERS_BYTES_MAX {
            let message =
                format!("refuse the archive: {}: it has too many folders", name::shown(&entry.path));
            return Err(failure(FailureKind::LimitReached, message));
        }
        let Entry { path, mode, modified, attributes, .. } = entry;
        self.folders.insert(path, Stated { mode, modified, attributes });
        Ok(())
    }

    fn link_begin(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Failure> {
        let (folder, target_name) = name::split(target);
        let missing = || {
            let target = name::shown(target);
            refusal(&format!(
                "{}: it is a hard link to {target}, which is no file before it",
                name::shown(&entry.path)
            ))
        };
        let from = beneath::open(&self.root, folder, beneath::PLACE, Mode::empty()).map_err(|_| missing())?;
        let found = statat(&from, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(missing());
        }
        self.make(entry, |place, name| linkat(&from, target_name, place, name, AtFlags::empty()))
    }

    /// Makes something that is no folder, in the place of what is there if that is none either.
    fn make<T>(
        &mut self,
        entry: &Entry,
        call: impl Fn(&OwnedFd, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        let name = self.enter(&entry.path)?;
        let Some((_, place)) = &self.place else {
            return Err(unpack_failure(&entry.path, Errno::NOENT));
        };
        let made = match call(place, name) {
            Err(Errno::EXIST) => match unlinkat(place, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    let path = name::shown(&entry.path);
                    return Err(refusal(&format!("{path}: it was a folder before, and is something else")));
                }
                Err(errno) => Err(errno),
                Ok(()) => call(place, name),
            },
            made => made,
        };
        made.map_err(|errno| unpack_failure(&entry.path, errno))
    }

    /// Owner and time of what was made just now.
    fn set_made(&self, entry: &Entry) -> Result<(), Failure> {
        let Some((_, place)) = &self.place else { return Ok(()) };
        metadata::set_at(place, name::split(&entry.path).1, entry)
            .map_err(|errno| unpack_failure(&entry.path, errno))
    }
}

impl Unpack for Draft {
    fn begin(&mut self, entry: Entry) -> Result<(), Failure> {
        self.charge(&entry.path, ENTRY_BYTES + entry.metadata_bytes() as u64)?;
        match &entry.kind {
            Kind::Folder => return self.folder_begin(entry),
            Kind::HardLink { target } => return self.link_begin(&entry, target),
            Kind::Symlink { target } => {
                self.make(&entry, |place, name| symlinkat(&target[..], place, name))?;
                self.set_made(&entry)?;
            }
            Kind::Fifo => {
                self.make(&entry, |place, name| {
                    mknodat(place, name, FileType::Fifo, Mode::empty(), 0)?;
                    // Nobody else can have put a link there: the draft is closed to other users.
                    rustix::fs::chmodat(place, name, Mode::from_bits_truncate(entry.mode), AtFlags::empty())
                })?;
                self.set_made(&entry)?;
            }
            Kind::File { .. } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let file = self
                    .make(&entry, |place, name| beneath::open(place, name, flags, Mode::RUSR | Mode::WUSR))?;
                self.file = Some((SparseWriter::new(File::from(file)), entry));
            }
        }
        Ok(())
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Failure> {
        if let Some((writer, _)) = &mut self.file {
            writer.skip(bytes);
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some((file, entry)) = &mut self.file else { return Ok(()) };
        let written = file
            .write(bytes)
            .map_err(|error| failure_os(format_args!("unpack {}", name::shown(&entry.path)), &error))?;
        let path = entry.path.clone();
        self.charge(&path, written)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some((file, entry)) = self.file.take() else { return Ok(()) };
        let failed =
            |error: &std::io::Error| failure_os(format_args!("unpack {}", name::shown(&entry.path)), error);
        let file = file.finish().map_err(|error| failed(&error))?;
        metadata::set(file.as_fd(), &entry).map_err(|errno| failed(&errno.into()))
    }
}

/// A draft that is going away.
pub(super) struct Discarded {
    removal: Removal,
    home: OwnedFd,
    name: String,
}

impl Discarded {
    /// Removes some more; `true` when it is gone, or can't be removed.
    pub(super) fn step(&mut self) -> bool {
        match self.removal.step() {
            Ok(false) => false,
            Ok(true) | Err(_) => {
                let _ = unlinkat(&self.home, &self.name, AtFlags::REMOVEDIR);
                true
            }
        }
    }
}

/// The folder at `path`, or the nearest above it.
fn home_open(path: &GuestPath) -> Result<OwnedFd, Failure> {
    let mut folder = path.clone();
    loop {
        match openat(CWD, folder.as_str(), beneath::FOLDER | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => return Ok(opened),
            Err(Errno::NOENT) if let Some(above) = folder.parent() => folder = above,
            Err(errno) => return Err(failure_os(format_args!("open the folder {folder}"), &errno.into())),
        }
    }
}

fn unpack_failure(path: &[u8], errno: Errno) -> Failure {
    failure_os(format_args!("unpack {}", name::shown(path)), &errno.into())
}

/// The failure of an entry whose folder is none. Which of the two is in its place the kernel doesn't tell.
fn place_failure(path: &[u8], errno: Errno) -> Failure {
    match errno {
        Errno::LOOP | Errno::NOTDIR => {
            let path = name::shown(path);
            refusal(&format!("{path}: it is below a file or a symbolic link, which is not followed"))
        }
        errno => unpack_failure(path, errno),
    }
}
