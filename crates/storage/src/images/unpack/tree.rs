//! A layer's tree while it is filled. Everything is reached by openat2(2) from its root: a symbolic link of the layer
//! is followed where it stays below, and refused where it would leave; nothing on another mount is entered.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, chmodat, chownat, fchmod,
        fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat2, statat, symlinkat, unlinkat,
        utimensat,
    },
    io::Errno,
};

use super::{
    Refusal,
    entry::{Kind, Meta, Stated},
    name::{self, Meaning},
    report::{Place, Unpacked},
};
use crate::images::digest::Digest;

/// A folder that is only a place for names.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
/// A folder whose metadata is set.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
/// What an entry counts beside its content: about what a file system needs for one.
const ENTRY_BYTES: u64 = 512;
/// Names of folders that may be remembered, all together.
const FOLDERS_BYTES_MAX: usize = 32 << 20;
const PIECE_BYTES: usize = 256 << 10;
/// As often the kernel may say that something was moved while it looked.
const TRIES_MAX: usize = 64;

/// Why an entry was not taken.
pub(super) enum Fault {
    Refused(Refusal),
    /// Its content could not be read.
    Read(io::Error),
}

impl From<Refusal> for Fault {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

pub(super) struct Tree {
    root: OwnedFd,
    bytes: u64,
    bytes_max: u64,
    skipped: u64,
    /// The folder of the entry before, which most often is that of the next.
    place: Option<(Vec<u8>, OwnedFd)>,
    /// What folders get when all is in them.
    folders: BTreeMap<Vec<u8>, Meta>,
    opaque: BTreeSet<Vec<u8>>,
    implied: BTreeSet<Vec<u8>>,
    remembered: usize,
    piece: Vec<u8>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd, bytes_max: u64) -> Self {
        Self {
            root,
            bytes: 0,
            bytes_max,
            skipped: 0,
            place: None,
            folders: BTreeMap::new(),
            opaque: BTreeSet::new(),
            implied: BTreeSet::new(),
            remembered: 0,
            piece: vec![0; PIECE_BYTES],
        }
    }

    /// Takes an entry, and reads its content.
    pub(super) fn add(&mut self, entry: Stated, content: &mut impl Read) -> Result<(), Fault> {
        self.charge(ENTRY_BYTES + entry.path.len() as u64)?;
        let meaning = name::meaning(&entry.path).map_err(|why| refused(&entry.path, why))?;
        match meaning {
            Meaning::Plain => {}
            Meaning::Nothing => return Ok(()),
            Meaning::Opaque => {
                let (folder, _) = name::split(&entry.path);
                self.enter(&entry.path)?;
                return Ok(self.hide_below(folder)?);
            }
            Meaning::Gone(gone) => return Ok(self.whiteout(&entry.path, gone)?),
        }
        match &entry.kind {
            Kind::Folder => self.folder(entry)?,
            Kind::File => self.file(&entry, content)?,
            Kind::HardLink(target) => self.link(&entry, target)?,
            Kind::Symlink(target) => {
                self.make(&entry.path, |place, name| symlinkat(&target[..], place, name))?;
                self.named_set(&entry)?;
            }
            Kind::Fifo => {
                let mode = Mode::from_bits_truncate(entry.meta.mode);
                self.make(&entry.path, |place, name| {
                    mknodat(place, name, FileType::Fifo, Mode::empty(), 0)?;
                    chmodat(place, name, mode, AtFlags::empty())
                })?;
                self.named_set(&entry)?;
            }
            // A sandbox has devices of its own.
            Kind::Device => self.skipped += 1,
        }
        Ok(())
    }

    /// Gives folders what had to wait: a mode could be in the way, and each entry changes the time.
    pub(super) fn finish(mut self) -> Result<Unpacked, Refusal> {
        let folders = std::mem::take(&mut self.folders);
        if !folders.contains_key(&b""[..]) {
            let root = self.open(b"", FOLDER).and_then(|root| fchmod(root, FOLDER_MODE));
            root.map_err(|errno| failed(b"/", errno))?;
            self.implied.insert(Vec::new());
        }
        for (path, meta) in folders.iter().rev() {
            let folder = self.open(path, FOLDER).map_err(|errno| failed(path, errno))?;
            self.skipped += set(folder.as_fd(), meta).map_err(|errno| failed(path, errno))?;
        }
        let places = |paths: BTreeSet<Vec<u8>>| paths.into_iter().map(Place).collect();
        Ok(Unpacked {
            diff_id: Digest::of(b""),
            entries: 0,
            bytes: self.bytes,
            skipped: self.skipped,
            opaque: places(self.opaque),
            implied: places(self.implied),
        })
    }

    fn charge(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_max {
            return Err(format!("it unpacks to more than {} bytes", self.bytes_max));
        }
        Ok(())
    }

    fn remember(&mut self, path: &[u8], meta: Option<&Meta>) -> Result<(), Refusal> {
        let attributes = meta.into_iter().flat_map(|meta| &meta.attributes);
        self.remembered +=
            path.len() + 128 + attributes.map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if self.remembered > FOLDERS_BYTES_MAX { Err("it has too many folders".to_owned()) } else { Ok(()) }
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        open_beneath(self.root.as_fd(), path, flags, ResolveFlags::empty())
    }

    /// Makes the folder of an entry the current one, and returns the entry's name in it.
    fn enter<'a>(&mut self, path: &'a [u8]) -> Result<&'a [u8], Refusal> {
        let (folder, name) = name::split(path);
        if self.place.as_ref().is_some_and(|(current, _)| current == folder) {
            return Ok(name);
        }
        let opened = match self.open(folder, PLACE) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.folders_make(path, folder)?;
                self.open(folder, PLACE)
            }
            opened => opened,
        };
        self.place = Some((folder.to_vec(), opened.map_err(|errno| failed_below(path, errno))?));
        Ok(name)
    }

    fn current(&self) -> BorrowedFd<'_> {
        self.place.as_ref().map_or(self.root.as_fd(), |(_, place)| place.as_fd())
    }

    /// Makes the folders that the archive has no entry of.
    fn folders_make(&mut self, path: &[u8], folder: &[u8]) -> Result<(), Refusal> {
        let slashes = folder.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        for end in slashes.chain([folder.len()]) {
            let (above, name) = name::split(&folder[..end]);
            let place = self.open(above, PLACE).map_err(|errno| failed_below(path, errno))?;
            if self.folder_make(place.as_fd(), &folder[..end], name, false)? {
                self.charge(ENTRY_BYTES)?;
                self.remember(&folder[..end], None)?;
                self.implied.insert(folder[..end].to_vec());
            }
        }
        Ok(())
    }

    /// Makes a folder where there is none. Returns whether it did. What was said to be gone is hidden by it; `replace`
    /// says whether anything else gives way.
    fn folder_make(
        &mut self,
        place: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
        replace: bool,
    ) -> Result<bool, Refusal> {
        let make = || mkdirat(place, name, Mode::RWXU);
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = kind_of(place, name).map_err(|errno| failed(path, errno))?;
                if there == FileType::Directory || (there != FileType::CharacterDevice && !replace) {
                    return Ok(false);
                }
                let remade = unlinkat(place, name, AtFlags::empty()).and_then(|()| make());
                remade.map_err(|errno| failed(path, errno))?;
                self.place = None;
                if there == FileType::CharacterDevice {
                    self.hide_below(path)?;
                }
            }
            Err(errno) => return Err(failed(path, errno)),
        }
        // Not narrowed by the umask.
        open_beneath(place, name, FOLDER, ResolveFlags::NO_SYMLINKS)
            .and_then(|made| fchmod(made, FOLDER_MODE))
            .map_err(|errno| failed(path, errno))?;
        Ok(true)
    }

    fn folder(&mut self, entry: Stated) -> Result<(), Refusal> {
        let Stated { path, meta, .. } = entry;
        if !path.is_empty() {
            let name = self.enter(&path)?;
            let place =
                self.current().try_clone_to_owned().map_err(|error| format!("open a folder: {error}"))?;
            self.folder_make(place.as_fd(), &path, name, true)?;
        }
        self.remember(&path, Some(&meta))?;
        self.implied.remove(&path);
        self.folders.insert(path, meta);
        Ok(())
    }

    fn file(&mut self, entry: &Stated, content: &mut impl Read) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = self.make(&entry.path, |place, name| {
            rustix::fs::openat(place, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let mut file = std::fs::File::from(made);
        let mut piece = std::mem::take(&mut self.piece);
        loop {
            let bytes = content.read(&mut piece).map_err(Fault::Read)?;
            if bytes == 0 {
                break;
            }
            self.charge(bytes as u64)?;
            file.write_all(&piece[..bytes]).map_err(|error| refused(&entry.path, &error.to_string()))?;
        }
        self.piece = piece;
        self.skipped += set(file.as_fd(), &entry.meta).map_err(|errno| failed(&entry.path, errno))?;
        Ok(())
    }

    fn link(&mut self, entry: &Stated, target: &[u8]) -> Result<(), Refusal> {
        let missing = || {
            let target = name::shown(target);
            refused(
                &entry.path,
                &format!("it is a hard link to {target}, which is nothing of this layer before it"),
            )
        };
        let (folder, target_name) = name::split(target);
        let from = self.open(folder, PLACE).map_err(|_| missing())?;
        let there = kind_of(from.as_fd(), target_name).map_err(|_| missing())?;
        if matches!(there, FileType::Directory | FileType::CharacterDevice) || target == entry.path {
            return Err(missing());
        }
        self.make(&entry.path, |place, name| linkat(&from, target_name, place, name, AtFlags::empty()))
    }

    /// Marks a name as gone, in the words of overlayfs: a character device 0/0. What this layer itself has there
    /// stays, and hides what is below.
    fn whiteout(&mut self, path: &[u8], gone: &[u8]) -> Result<(), Refusal> {
        let (folder, _) = name::split(path);
        self.enter(path)?;
        let made = mknodat(self.current(), gone, FileType::CharacterDevice, Mode::empty(), makedev(0, 0));
        match made {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let there = kind_of(self.current(), gone).map_err(|errno| failed(path, errno))?;
                if there == FileType::Directory {
                    let separator: &[u8] = if folder.is_empty() { b"" } else { b"/" };
                    self.hide_below(&[folder, separator, gone].concat())?;
                }
                Ok(())
            }
            Err(errno) => Err(failed(path, errno)),
        }
    }

    fn hide_below(&mut self, folder: &[u8]) -> Result<(), Refusal> {
        if self.opaque.insert(folder.to_vec()) { self.remember(folder, None) } else { Ok(()) }
    }

    /// Makes something that is no folder, in the place of what is there if that is none either.
    fn make<T>(
        &mut self,
        path: &[u8],
        call: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Refusal> {
        let name = self.enter(path)?;
        let place = self.current();
        let made = match call(place, name) {
            Err(Errno::EXIST) => match unlinkat(place, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => {
                    return Err(refused(path, "it was a folder before, and is something else"));
                }
                unlinked => unlinked.and_then(|()| call(place, name)),
            },
            made => made,
        };
        made.map_err(|errno| failed(path, errno))
    }

    /// Owner and time of what cannot be opened.
    fn named_set(&self, entry: &Stated) -> Result<(), Refusal> {
        let (_, name) = name::split(&entry.path);
        let (place, meta) = (self.current(), &entry.meta);
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        chownat(place, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| utimensat(place, name, &meta.times(), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| failed(&entry.path, errno))
    }
}

/// Opens `path` below `folder`; the folder itself where it is empty.
pub(in crate::images) fn open_beneath(
    folder: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    more: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV | more;
    for _ in 0..TRIES_MAX {
        match openat2(folder, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

fn kind_of(place: BorrowedFd<'_>, name: &[u8]) -> Result<FileType, Errno> {
    statat(place, name, AtFlags::SYMLINK_NOFOLLOW).map(|found| FileType::from_raw_mode(found.st_mode))
}

/// Gives an open file all that is stated of it, and says how many attributes could not be set. The order is the
/// kernel's: a change of owner takes away set-user-id and capabilities.
fn set(file: BorrowedFd<'_>, meta: &Meta) -> Result<u64, Errno> {
    let mut skipped = 0;
    fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
    for (name, value) in &meta.attributes {
        match fsetxattr(file, &name[..], value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::TOOBIG | Errno::RANGE) => skipped += 1,
            Err(errno) => return Err(errno),
        }
    }
    fchmod(file, Mode::from_bits_truncate(meta.mode))?;
    futimens(file, &meta.times())?;
    Ok(skipped)
}

fn refused(path: &[u8], why: &str) -> Refusal {
    format!("{}: {why}", name::shown(path))
}

fn failed(path: &[u8], errno: Errno) -> Refusal {
    refused(path, &errno.to_string())
}

/// The failure of an entry whose folder cannot be entered.
fn failed_below(path: &[u8], errno: Errno) -> Refusal {
    match errno {
        Errno::XDEV | Errno::LOOP => refused(path, "it is below a link that leads out of the layer"),
        Errno::NOTDIR | Errno::NOENT => refused(path, "it is below something that is no folder"),
        errno => failed(path, errno),
    }
}
