//! A file that takes room while all is well, and gives it up at a start that finds the pool full: the `host` image
//! may have to be written before a server can delete anything.
//!
//! It must not know what is written.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::{FallocateFlags, fallocate, syncfs};

use super::space;
use crate::layout::DataDir;

/// Several times the `host` image.
const RESERVE_BYTES: u64 = 64 << 20;

/// Removes the file if without it there is not enough room for a start. What fails here shows when that room is
/// used.
pub(super) fn give_up_if_full(data: &DataDir) {
    let storage = data.storage();
    let is_full = space(storage.as_path()).is_ok_and(|space| space.free_bytes < RESERVE_BYTES);
    if is_full && fs::remove_file(data.storage_reserve().as_path()).is_ok() {
        // The room is there once the removal is on the disk.
        let _ = File::open(storage.as_path()).map(syncfs);
    }
}

/// Makes the file if there is room for it. If there is none, a later start may have it.
pub(super) fn set_aside(data: &DataDir) {
    let path = data.storage_reserve();
    let path = path.as_path();
    let has_room = space(data.storage().as_path()).is_ok_and(|space| space.free_bytes > 2 * RESERVE_BYTES);
    if has_room && !path.exists() && make(path).is_err() {
        let _ = fs::remove_file(path);
    }
}

fn make(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES)?)
}
