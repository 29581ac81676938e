//! Growing the pool's image file, with the file system mounted: first the file, then the loop device, then btrfs.
//!
//! Each step looks whether it is needed, so a start goes on where an earlier one was cut off. It must not know
//! what the pool is for.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsFd as _,
};

use super::{PoolError, PoolOptions, failed, space};
use crate::{layout::DataDir, mounted};

/// Btrfs uses whole sectors of its device.
const SECTOR_BYTES: u64 = 4096;

/// Brings a mounted image file to the size asked for. `Some` says why it has another: that is no reason not to
/// start.
pub(super) fn size_ensured(data: &DataDir, options: PoolOptions<'_>) -> Option<String> {
    let grown =
        file_grow(data, options.size_bytes).and_then(|note| file_system_follow(data, options).map(|()| note));
    grown.unwrap_or_else(|error| {
        let why = std::error::Error::source(&error).map(|source| format!(": {source}"));
        let why = why.unwrap_or_default();
        Some(format!("the storage does not grow now, the next start tries again: {error}{why}"))
    })
}

fn file_grow(data: &DataDir, asked: Option<u64>) -> Result<Option<String>, PoolError> {
    let Some(asked) = asked.map(whole_sectors) else { return Ok(None) };
    let image = data.storage_image();
    let image = image.as_path();
    let has = fs::metadata(image).map_err(failed("examine", image))?.len();
    if asked < whole_sectors(has) {
        let (has, asked) = (has >> 20, asked >> 20);
        return Ok(Some(format!(
            "the storage keeps its {has} MiB: it grows, but does not shrink to {asked} MiB; to make it smaller, \
             delete all sandboxes, unmount {}, and remove {}",
            data.storage(),
            image.display()
        )));
    }
    if asked > has {
        let file = OpenOptions::new().write(true).open(image).map_err(failed("open", image))?;
        file.set_len(asked).and_then(|()| file.sync_all()).map_err(failed("extend", image))?;
    }
    Ok(None)
}

fn file_system_follow(data: &DataDir, options: PoolOptions<'_>) -> Result<(), PoolError> {
    let (image, storage) = (data.storage_image(), data.storage());
    let (image, storage) = (image.as_path(), storage.as_path());
    let device = mounted::device(storage).map_err(failed("examine", storage))?;
    let device =
        device.ok_or_else(|| failed("find the device of", storage)(io::ErrorKind::NotFound.into()))?;
    let device = device.as_path();
    let device_bytes = || mounted::device_bytes(device).map_err(failed("examine", device));
    let image_bytes = fs::metadata(image).map_err(failed("examine", image))?.len();
    if whole_sectors(device_bytes()?) < whole_sectors(image_bytes) {
        File::open(device)
            .and_then(|file| (options.calls.loop_grow)(file.as_fd()))
            .map_err(failed("enlarge", device))?;
    }
    let total_bytes = space(storage).map_err(failed("examine", storage))?.total_bytes;
    if total_bytes < whole_sectors(device_bytes()?) {
        File::open(storage)
            .and_then(|folder| (options.calls.btrfs_grow)(folder.as_fd()))
            .map_err(failed("enlarge the file system at", storage))?;
    }
    Ok(())
}

fn whole_sectors(bytes: u64) -> u64 {
    bytes - bytes % SECTOR_BYTES
}
