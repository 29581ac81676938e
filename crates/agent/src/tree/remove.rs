//! Removes everything below a folder, in steps, without following a link or entering a mount.

use std::os::fd::OwnedFd;

use protocol::agent::{Failure, FailureKind};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, renameat, unlinkat},
    io::Errno,
};

use super::{DEPTH_MAX, DRAFT_PREFIX, beneath, name};
use crate::failure::{failure, failure_os};

/// Names that one step removes.
const STEP_NAMES: usize = 2048;
/// As often the folder is gone through again because something was added meanwhile.
const PASSES_MAX: usize = 64;

/// A removal that has come to some place.
pub(crate) struct Removal {
    levels: Vec<Level>,
    /// A name in the folder that stays.
    spared: Option<Vec<u8>>,
    /// Folders that lay too deep and were moved up.
    moved: u64,
    /// What forces another pass.
    moved_in_pass: bool,
    grown_in_pass: bool,
    passes_left: usize,
    /// Something is mounted below, and stays with the folders above it.
    has_mounts: bool,
}

struct Level {
    folder: Dir,
    name: Vec<u8>,
}

impl Removal {
    /// # Errors
    /// When the folder can't be read.
    pub(super) fn new(folder: &OwnedFd, spared: Option<Vec<u8>>) -> Result<Self, Errno> {
        // A descriptor of its own: reading moves its offset.
        let folder = Dir::new(beneath::open(folder, b"", beneath::FOLDER, Mode::empty())?)?;
        Ok(Self {
            levels: vec![Level { folder, name: Vec::new() }],
            spared,
            moved: 0,
            moved_in_pass: false,
            grown_in_pass: false,
            passes_left: PASSES_MAX,
            has_mounts: false,
        })
    }

    /// Removes some more; `true` when all is gone.
    ///
    /// # Errors
    /// When something can't be removed.
    pub(super) fn step(&mut self) -> Result<bool, Failure> {
        for _ in 0..STEP_NAMES {
            let is_top = self.levels.len() == 1;
            let Some(level) = self.levels.last_mut() else { return Ok(true) };
            let next = match level.folder.read() {
                Some(Ok(next)) => next,
                None | Some(Err(Errno::NOENT)) if is_top => {
                    if self.passed()? {
                        return Ok(true);
                    }
                    continue;
                }
                None | Some(Err(Errno::NOENT)) => {
                    self.level_remove()?;
                    continue;
                }
                Some(Err(errno)) => return Err(removal_failure(&level.name, errno)),
            };
            let name = next.file_name().to_bytes();
            let is_spared = is_top && self.spared.as_deref() == Some(name);
            if !matches!(name, b"." | b"..") && !is_spared {
                let may_be_folder = matches!(next.file_type(), FileType::Directory | FileType::Unknown);
                self.name_remove(name, may_be_folder).map_err(|errno| removal_failure(name, errno))?;
            }
        }
        Ok(false)
    }

    fn name_remove(&mut self, name: &[u8], may_be_folder: bool) -> Result<(), Errno> {
        let [top, ..] = &self.levels[..] else { return Ok(()) };
        let Some(level) = self.levels.last() else { return Ok(()) };
        let place = level.folder.fd()?;
        if !may_be_folder {
            match unlinkat(place, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) => {
                    self.has_mounts = true;
                    return Ok(());
                }
                // Replaced by a folder since.
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        match beneath::open(place, name, beneath::FOLDER, Mode::empty()) {
            Ok(_) if self.levels.len() >= DEPTH_MAX => {
                let moved_name = format!("{DRAFT_PREFIX}deep-{}-{}", std::process::id(), self.moved);
                renameat(place, name, top.folder.fd()?, moved_name)?;
                self.moved += 1;
                self.moved_in_pass = true;
                Ok(())
            }
            Ok(folder) => {
                self.levels.push(Level { folder: Dir::new(folder)?, name: name.to_vec() });
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::XDEV) => {
                self.has_mounts = true;
                Ok(())
            }
            // No folder after all.
            Err(Errno::NOTDIR | Errno::LOOP) => match unlinkat(place, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Goes up from a folder that was gone through, and removes it.
    fn level_remove(&mut self) -> Result<(), Failure> {
        let Some(Level { name, .. }) = self.levels.pop() else { return Ok(()) };
        let Some(above) = self.levels.last() else { return Ok(()) };
        let removed = above.folder.fd().and_then(|place| unlinkat(place, &name[..], AtFlags::REMOVEDIR));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => {
                self.grown_in_pass = true;
                Ok(())
            }
            Err(errno) => Err(removal_failure(&name, errno)),
        }
    }

    /// Ends a pass through the whole; `true` when none has to follow.
    fn passed(&mut self) -> Result<bool, Failure> {
        // What lies above a mount never gets empty.
        if !self.moved_in_pass && (!self.grown_in_pass || self.has_mounts) {
            return Ok(true);
        }
        if !self.moved_in_pass {
            self.passes_left -= 1;
            if self.passes_left == 0 {
                let message = "remove what was there: programs keep adding to it; stop them first";
                return Err(failure(FailureKind::Other, message));
            }
        }
        (self.moved_in_pass, self.grown_in_pass) = (false, false);
        if let [top] = &mut self.levels[..] {
            top.folder.rewind();
        }
        Ok(false)
    }
}

fn removal_failure(name: &[u8], errno: Errno) -> Failure {
    failure_os(format_args!("remove {}", name::shown(name)), &errno.into())
}
