//! Makes the archive of a tree piece by piece. Between two pieces it holds the open folders on the way to
//! where it is, and the file that it reads: memory that does not grow with the tree.

use std::{collections::HashMap, ffi::CStr, fs::File, os::fd::AsFd};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, readlinkat, statat},
    io::Errno,
};

use super::{
    DEPTH_MAX, DRAFT_PREFIX, beneath, encode,
    entry::{Attributes, Entry, Kind},
    metadata, name,
    sparse::SparseReader,
    sparse_map::{SparseMap, Stretch},
};
use crate::failure::{failure, failure_os};

/// How much one piece has; some headers more.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// Names that are remembered because their files have others. Beyond it a further name is a copy.
const LINKS_BYTES_MAX: usize = 8 << 20;
const MODE_BITS: u32 = 0o7777;

/// A walk through a tree that has come to some place.
pub(super) struct Walk {
    /// The folders on the way, the tree's own first.
    levels: Vec<Level>,
    /// Where the last of them is, relative to the first.
    path: Vec<u8>,
    /// With its path, and how much data it has.
    file: Option<(SparseReader, Vec<u8>, u64)>,
    links: Links,
    ended: bool,
}

struct Level {
    folder: Dir,
    /// How much of the path is above it.
    path_bytes: usize,
}

/// What the walk meets that is gone, replaced or mounted over is left out.
fn is_left_out(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::NODEV)
}

impl Walk {
    /// Opens the folder. The way to it may have symbolic links, as for any program.
    pub(super) fn open(path: &GuestPath) -> Result<Self, Failure> {
        let failed = |errno: Errno| failure_os(format_args!("open the folder {path}"), &errno.into());
        let folder = open(path.as_str(), beneath::FOLDER | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
        let folder = Dir::new(folder).map_err(failed)?;
        Ok(Self {
            levels: vec![Level { folder, path_bytes: 0 }],
            path: Vec::new(),
            file: None,
            links: Links::default(),
            ended: false,
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Appends the next piece of the archive.
    ///
    /// # Errors
    /// When something that is there can't be read.
    pub(super) fn piece_push(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        while out.len() < PIECE_BYTES && !self.ended {
            match &mut self.file {
                Some((reader, path, data_bytes)) => {
                    reader
                        .read(out, PIECE_BYTES - out.len())
                        .map_err(|error| failure_os(format_args!("read {}", name::shown(path)), &error))?;
                    if reader.has_ended() {
                        encode::padding_push(out, *data_bytes);
                        self.file = None;
                    }
                }
                None => self.entry_push(out)?,
            }
        }
        Ok(())
    }

    /// Goes on by one name.
    fn entry_push(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let Some(level) = self.levels.last_mut() else {
            encode::end_push(out);
            self.ended = true;
            return Ok(());
        };
        let next = match level.folder.read() {
            Some(Ok(next)) => next,
            // Removed while it was read.
            None | Some(Err(Errno::NOENT)) => {
                self.path.truncate(level.path_bytes);
                self.levels.pop();
                return Ok(());
            }
            Some(Err(errno)) => return Err(self.failure(b"", errno)),
        };
        let name = next.file_name();
        let bytes = name.to_bytes();
        let is_draft = bytes.starts_with(DRAFT_PREFIX.as_bytes());
        if matches!(bytes, b"." | b"..") || is_draft {
            return Ok(());
        }
        match self.name_push(name, out) {
            Ok(()) => Ok(()),
            Err(Stop::Errno(errno)) if is_left_out(errno) => Ok(()),
            Err(Stop::Errno(errno)) => Err(self.failure(bytes, errno)),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    fn name_push(&mut self, name: &CStr, out: &mut Vec<u8>) -> Result<(), Stop> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let place = level.folder.fd()?;
        let path = joined(&self.path, name.to_bytes());
        let found = statat(place, name, AtFlags::SYMLINK_NOFOLLOW)?;
        name::normalise(&path).map_err(|why| unfit(&path, why))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let folder = beneath::open(place, name.to_bytes(), beneath::FOLDER, Mode::empty())?;
                if self.levels.len() >= DEPTH_MAX {
                    return Err(unfit(&path, "it is below more than 256 folders").into());
                }
                let found = fstat(&folder)?;
                let attributes = metadata::attributes(folder.as_fd())?;
                encode::entry_push(out, &entry(path.clone(), Kind::Folder, &found, attributes))?;
                let path_bytes = self.path.len();
                self.levels.push(Level { folder: Dir::new(folder)?, path_bytes });
                self.path = path;
            }
            FileType::RegularFile => {
                // Another kind of file may be there by now; opening a pipe must not wait.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                let file = File::from(beneath::open(place, name.to_bytes(), flags, Mode::empty())?);
                let found = fstat(&file)?;
                if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
                    self.file_push(path, file, &found, out)?;
                }
            }
            FileType::Symlink => {
                let target = readlinkat(place, name, Vec::new())?.into_bytes();
                encode::entry_push(out, &entry(path, Kind::Symlink { target }, &found, Vec::new()))?;
            }
            FileType::Fifo => encode::entry_push(out, &entry(path, Kind::Fifo, &found, Vec::new()))?,
            // Sockets are nothing without their process; devices no program in a sandbox can make.
            _ => {}
        }
        Ok(())
    }

    fn file_push(&mut self, path: Vec<u8>, file: File, found: &Stat, out: &mut Vec<u8>) -> Result<(), Stop> {
        if let Some(target) = self.links.earlier_name(found, &path) {
            return Ok(encode::entry_push(out, &entry(path, Kind::HardLink { target }, found, Vec::new()))?);
        }
        let size_bytes = u64::try_from(found.st_size).unwrap_or(0);
        let attributes = metadata::attributes(file.as_fd())?;
        let entry = entry(path.clone(), Kind::File { size_bytes }, found, attributes);
        let map = if let Some(map) = SparseMap::of(&file, size_bytes) {
            encode::sparse_push(out, &entry, &map)?;
            map
        } else {
            encode::entry_push(out, &entry)?;
            SparseMap { size_bytes, stretches: vec![Stretch { offset: 0, length: size_bytes }] }
        };
        let data_bytes = map.data_bytes();
        if data_bytes > 0 {
            self.file = Some((SparseReader::new(file, map), path, data_bytes));
        }
        Ok(())
    }

    fn failure(&self, name: &[u8], errno: Errno) -> Failure {
        let path = joined(&self.path, name);
        failure_os(format_args!("archive {}", name::shown(&path)), &errno.into())
    }
}

/// Why a name is not in the archive.
enum Stop {
    Errno(Errno),
    Failure(Failure),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The failure of a tree that no archive can hold, so that none is made which could not be unpacked.
fn unfit(path: &[u8], why: &str) -> Failure {
    failure(FailureKind::LimitReached, format!("archive {}: {why}", name::shown(path)))
}

fn entry(path: Vec<u8>, kind: Kind, found: &Stat, attributes: Attributes) -> Entry {
    Entry {
        path,
        kind,
        mode: found.st_mode & MODE_BITS,
        uid: found.st_uid,
        gid: found.st_gid,
        modified: metadata::modified(found),
        attributes,
    }
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}

/// Files that have further names which were not met yet, by device and number.
#[derive(Default)]
struct Links {
    names: HashMap<(u64, u64), (Vec<u8>, u64)>,
    bytes: usize,
}

impl Links {
    /// The name under which the file is in the archive already; if under none, it will be under `path`.
    fn earlier_name(&mut self, found: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if found.st_nlink < 2 {
            return None;
        }
        let key = (found.st_dev, found.st_ino);
        if let Some((name, left)) = self.names.get_mut(&key) {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return Some(name.clone());
            }
            let (name, _) = self.names.remove(&key)?;
            self.bytes -= name.len();
            return Some(name);
        }
        if self.bytes + path.len() <= LINKS_BYTES_MAX {
            self.bytes += path.len();
            self.names.insert(key, (path.to_vec(), found.st_nlink - 1));
        }
        None
    }
}
