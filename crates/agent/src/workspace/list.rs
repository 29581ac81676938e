//! Lists a tree: folders near the top first, so that a list that is cut off has what is looked at first. It holds the
//! names of folders that it has not come to, which the limits bound.

use std::{collections::VecDeque, os::fd::OwnedFd};

use protocol::{
    GuestPath,
    agent::Failure,
    workspace::{EntryKind, TreeEntry},
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, statat},
    io::Errno,
};

use super::{LIST_BYTES, list_send, place};
use crate::{
    failure::failure_os,
    files::{Worker, is_draft},
    wire::{FrameWriter, WireError},
};

/// Flags for a folder whose names are read.
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);
/// What an entry takes beside its path, at most.
const ENTRY_BYTES: usize = 16;

/// Sends what is below a folder. Returns whether that was all there is.
///
/// # Errors
/// [`WireError`] when the connection breaks; a [`Failure`] inside when the folder can't be read.
pub(crate) async fn workspace_tree(
    worker: &Worker,
    writer: FrameWriter<'_>,
    root: GuestPath,
    entries_max: u64,
    bytes_max: u64,
) -> Result<Result<bool, Failure>, WireError> {
    let begun = worker.run(move || Listing::begin(&root, entries_max, bytes_max)).await;
    let mut listing = match begun {
        Ok(listing) => listing,
        Err(failure) => return Ok(Err(failure)),
    };
    loop {
        let stepped = worker
            .run(move || {
                let entries = listing.step();
                Ok((listing, entries))
            })
            .await;
        let entries;
        (listing, entries) = match stepped {
            Ok(stepped) => stepped,
            Err(failure) => return Ok(Err(failure)),
        };
        if entries.is_empty() {
            return Ok(Ok(listing.is_whole));
        }
        list_send(writer, &entries).await?;
    }
}

/// A list that has come to some place.
struct Listing {
    root: OwnedFd,
    /// Folders that were listed and not gone into.
    folders: VecDeque<Vec<u8>>,
    current: Option<(Dir, Vec<u8>)>,
    entries_left: u64,
    bytes_left: u64,
    is_whole: bool,
}

impl Listing {
    fn begin(root: &GuestPath, entries_max: u64, bytes_max: u64) -> Result<Self, Failure> {
        let failed = |errno: Errno| failure_os(format_args!("list the folder {root}"), &errno.into());
        let folder = place::root_open(root)?;
        let top = place::open_below(&folder, b"", FOLDER, Mode::empty()).map_err(failed)?;
        Ok(Self {
            current: Some((Dir::new(top).map_err(failed)?, Vec::new())),
            root: folder,
            folders: VecDeque::new(),
            entries_left: entries_max,
            bytes_left: bytes_max,
            is_whole: true,
        })
    }

    /// Goes on for as much as a frame has. No entries: that was all.
    fn step(&mut self) -> Vec<TreeEntry> {
        let (mut entries, mut held) = (Vec::new(), 0);
        while held < LIST_BYTES {
            let Some((folder, path)) = &mut self.current else {
                let Some(path) = self.folders.pop_front() else { return entries };
                // One that is gone again has nothing; one that can't be read hides what it has.
                match place::open_below(&self.root, &path, FOLDER, Mode::empty()).and_then(Dir::new) {
                    Ok(folder) => self.current = Some((folder, path)),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(_) => self.is_whole = false,
                }
                continue;
            };
            let Some(found) = folder.read() else {
                self.current = None;
                continue;
            };
            let Ok(found) = found else {
                self.is_whole = false;
                self.current = None;
                continue;
            };
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || is_draft(name.to_bytes()) {
                continue;
            }
            let place = folder.fd();
            let Some(kind) = place.ok().and_then(|place| {
                let found = statat(place, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
                Some(match FileType::from_raw_mode(found.st_mode) {
                    FileType::Directory => EntryKind::Folder,
                    FileType::RegularFile => {
                        EntryKind::File { size_bytes: u64::try_from(found.st_size).unwrap_or(0) }
                    }
                    FileType::Symlink => EntryKind::Link,
                    _ => EntryKind::Other,
                })
            }) else {
                continue;
            };
            let path = joined(path, name.to_bytes());
            let has_room = self.entries_left > 0 && self.bytes_left >= path.len() as u64;
            if !has_room || protocol::entry_name::normalise(&path).is_err() {
                self.is_whole = false;
                if has_room {
                    // Too deep, or too long: what is beside it is not.
                    continue;
                }
                self.folders.clear();
                self.current = None;
                continue;
            }
            self.entries_left -= 1;
            self.bytes_left -= path.len() as u64;
            if kind == EntryKind::Folder {
                self.folders.push_back(path.clone());
            }
            held += path.len() + ENTRY_BYTES;
            entries.push(TreeEntry { path, kind });
        }
        entries
    }
}

/// A name in a folder below the root.
pub(super) fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, name].join(&b'/') }
}
