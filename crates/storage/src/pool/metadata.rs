//! Room for btrfs's metadata, set aside before sandboxes write.
//!
//! Btrfs gives its device out in chunks, each for data or for metadata, and mkfs.btrfs leaves 8 MiB for metadata.
//! Writers of data can take all the rest as chunks of data; without metadata then nobody can create anything, nor
//! write, although data is free, and removing a large layer may hang in the kernel. So a large chunk for metadata
//! is claimed early. Btrfs gives a chunk back in which nothing is; this one is kept by a file that reaches into it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{
    fs::{XattrFlags, fsetxattr, syncfs},
    io::Errno,
};

use crate::{layout::DataDir, mounted};

/// This part of the pool is to be there for metadata; within these bounds, the upper one being btrfs's own.
/// Checksums and extents of large files take about a 500th, many small files take more.
const SHARE: u64 = 64;
const WANTED_BYTES_MIN: u64 = 64 << 20;
const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// The size of a chunk is given in this unit (`btrfs_chunk_size_store` of the kernel).
const CHUNK_UNIT: u64 = 256 << 20;

/// One extended attribute of this length fills a node of metadata, 16 KiB.
const NODE_BYTES: u64 = 16 << 10;
const ATTRIBUTE: [u8; 15_000] = [0; 15_000];
/// What is written beyond the room that is there, so that some of it surely lies in the new chunk.
const NODES_BEYOND: u64 = 64;
/// No more than this is spent: where so much metadata is free, none is short.
const NODES_MAX: u64 = 8192;

/// Sees to the room. `Some` says that it can't be had.
pub(super) fn room_ensured(data: &DataDir) -> Option<String> {
    let storage = data.storage();
    let allocation = mounted::btrfs_facts(storage.as_path())?.join("allocation");
    match Room::look(storage.as_path(), &allocation).and_then(|room| room.ensure(data, &allocation)) {
        Ok(true) => None,
        Ok(false) => Some(
            "the storage is full and has little room for metadata: new sandboxes may fail; delete some and start \
             again, or give it more (`--storage-size`)"
                .to_owned(),
        ),
        Err(error) => Some(format!("no room for metadata is set aside in the storage: {error}")),
    }
}

/// How the chunks are given out.
struct Room {
    metadata_bytes: u64,
    used_bytes: u64,
    unallocated_bytes: u64,
    total_bytes: u64,
}

impl Room {
    fn look(storage: &Path, allocation: &Path) -> io::Result<Self> {
        let total_bytes = super::space(storage)?.total_bytes;
        let mut allocated = 0;
        for kind in ["data", "metadata", "system"] {
            allocated += number(&allocation.join(kind).join("disk_total"))?;
        }
        Ok(Self {
            metadata_bytes: number(&allocation.join("metadata/total_bytes"))?,
            used_bytes: number(&allocation.join("metadata/bytes_used"))?,
            unallocated_bytes: total_bytes.saturating_sub(allocated),
            total_bytes,
        })
    }

    /// Whether there is enough, or now is.
    fn ensure(&self, data: &DataDir, allocation: &Path) -> io::Result<bool> {
        let wanted = (self.total_bytes / SHARE).clamp(WANTED_BYTES_MIN, CHUNK_BYTES_MAX);
        let nodes = self.metadata_bytes.saturating_sub(self.used_bytes) / NODE_BYTES + NODES_BEYOND;
        if self.metadata_bytes >= wanted || nodes > NODES_MAX {
            return Ok(true);
        }
        if self.unallocated_bytes < wanted {
            return Ok(false);
        }
        // Without the file (before Linux 6.0) chunks are of the kernel's usual size.
        let _ = fs::write(allocation.join("metadata/chunk_size"), chunk_bytes(wanted).to_string());
        let ballast = ballast_open(data.storage_ballast().as_path())?;
        let written = ballast_write(&ballast, nodes);
        syncfs(&ballast)?;
        written?;
        Ok(number(&allocation.join("metadata/total_bytes"))? >= wanted)
    }
}

fn chunk_bytes(wanted: u64) -> u64 {
    wanted.next_multiple_of(CHUNK_UNIT)
}

fn ballast_open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Adds so many nodes to those that are there.
fn ballast_write(ballast: &File, nodes: u64) -> io::Result<()> {
    let mut added = 0;
    for name in (0_u64..).map(|index| format!("trusted.atoll.{index}")) {
        if added == nodes {
            break;
        }
        match fsetxattr(ballast, name.as_str(), &ATTRIBUTE, XattrFlags::CREATE) {
            Ok(()) => added += 1,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn number(file: &Path) -> io::Result<u64> {
    fs::read_to_string(file)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_asked_for_in_whole_units() {
        assert_eq!(chunk_bytes(WANTED_BYTES_MIN), CHUNK_UNIT);
        assert_eq!(chunk_bytes(CHUNK_UNIT + 1), 2 * CHUNK_UNIT);
        assert_eq!(chunk_bytes(CHUNK_BYTES_MAX), CHUNK_BYTES_MAX);
    }
}
