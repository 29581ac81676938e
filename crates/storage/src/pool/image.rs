//! The image file `storage.btrfs`: made sparse, formatted once, attached through a loop device.
//!
//! It must not know quotas or what the pool is for.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{POOL_BYTES_DEFAULT_MAX, POOL_BYTES_MIN, PlainReason, PoolError, failed, space};
use crate::{
    host_command::{HostCommandError, host_command_run},
    layout::DataDir,
};

/// No set-user-id program and no device node of a layer works outside of its sandbox; access times would turn
/// reads into writes; freed blocks go back to the host, in the background. Removed layers are freed after a commit,
/// and the usual pause between two commits is 30 seconds (btrfs(5)): launches that wait for room would wait as long.
const MOUNT_OPTIONS: &str = "loop,noatime,nosuid,nodev,discard=async,commit=5";

/// The program that formats a new image file.
pub(super) const MKFS: &str = "mkfs.btrfs";

/// Mounts the image file at `storage/`, made if it is missing. `Some` says why btrfs cannot be had.
pub(super) fn attach(
    data: &DataDir,
    size_bytes: Option<u64>,
    mkfs: &'static str,
) -> Result<Option<PlainReason>, PoolError> {
    let (image, storage) = (data.storage_image(), data.storage());
    let (image, storage) = (image.as_path(), storage.as_path());
    let is_new = !image.exists();
    if is_new && let Some(reason) = create(data, image, size_bytes, mkfs)? {
        return Ok(Some(reason));
    }
    match mount(image, storage) {
        Ok(()) => Ok(None),
        Err(HostCommandError::Failed { message, .. }) if is_new => {
            fs::remove_file(image).map_err(failed("remove", image))?;
            Ok(Some(PlainReason::MountFailed { message, path: storage.to_owned() }))
        }
        Err(source) => Err(PoolError::Unmountable { path: image.to_owned(), source }),
    }
}

/// Makes the file under another name first: an image file under its own name is always a whole file system.
fn create(
    data: &DataDir,
    image: &Path,
    size_bytes: Option<u64>,
    mkfs: &'static str,
) -> Result<Option<PlainReason>, PoolError> {
    let size_bytes = size_for(data.root().as_path(), size_bytes)?;
    let new = image.with_extension("btrfs.new");
    if new.exists() {
        fs::remove_file(&new).map_err(failed("remove", &new))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed("create", &new))?;
    file.set_len(size_bytes).map_err(failed("size", &new))?;
    let result = format(&new, mkfs);
    if result.is_err() {
        fs::remove_file(&new).map_err(failed("remove", &new))?;
    }
    match result {
        Ok(()) => {}
        Err(HostCommandError::Missing { .. }) => return Ok(Some(PlainReason::MkfsMissing)),
        Err(source) => return Err(PoolError::Format { path: image.to_owned(), source }),
    }
    file.sync_all().map_err(failed("write", &new))?;
    fs::rename(&new, image).map_err(failed("rename", &new))?;
    let folder = data.root().as_path();
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))?;
    Ok(None)
}

/// One copy of the metadata: both copies of the default would lie in the same file of the same disk.
fn format(image: &Path, mkfs: &'static str) -> Result<(), HostCommandError> {
    let args = ["--quiet", "--label", "atoll", "--data", "single", "--metadata", "single", "--"];
    let mut args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
    args.push(image.as_os_str());
    host_command_run(mkfs, &args)
}

/// By mount(8): it finds a free loop device without a race, reuses one that already has the file, and sets
/// `LO_FLAGS_AUTOCLEAR`, so that the device goes with the mount (loop(4), mount(8)).
fn mount(image: &Path, storage: &Path) -> Result<(), HostCommandError> {
    let mut args: Vec<&OsStr> = ["-t", "btrfs", "-o", MOUNT_OPTIONS, "--"].iter().map(OsStr::new).collect();
    args.extend([image.as_os_str(), storage.as_os_str()]);
    host_command_run("mount", &args)
}

fn size_for(root: &Path, asked: Option<u64>) -> Result<u64, PoolError> {
    let free_bytes = space(root).map_err(failed("examine", root))?.free_bytes;
    match asked {
        Some(size_bytes) if size_bytes < POOL_BYTES_MIN => Err(PoolError::TooSmall { size_bytes }),
        Some(size_bytes) => Ok(size_bytes),
        None if free_bytes < POOL_BYTES_MIN => Err(PoolError::NoSpace { path: root.to_owned(), free_bytes }),
        None => Ok(size_default(free_bytes)),
    }
}

/// Half of what is free, within bounds, in whole blocks.
fn size_default(free_bytes: u64) -> u64 {
    (free_bytes / 2).clamp(POOL_BYTES_MIN, POOL_BYTES_DEFAULT_MAX) & !0xFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_size_is_half_of_what_is_free_within_bounds() {
        assert_eq!(size_default(80 << 30), 40 << 30);
        assert_eq!(size_default(1 << 40), 100 << 30);
        assert_eq!(size_default(POOL_BYTES_MIN), POOL_BYTES_MIN);
        assert_eq!(size_default((80 << 30) + 4094), 40 << 30);
    }

    fn data_dir(root: &Path) -> DataDir {
        let data = DataDir::new(protocol::HostPath::new(root)).unwrap();
        data.create(0, 0).unwrap();
        data
    }

    fn leaves_nothing(data: &DataDir) -> bool {
        !data.storage_image().as_path().exists() && !data.root().join("storage.btrfs.new").as_path().exists()
    }

    #[test]
    fn without_mkfs_there_is_no_image_file() {
        let temp = tempfile::tempdir().unwrap();
        let data = data_dir(temp.path());
        let reason = attach(&data, Some(POOL_BYTES_MIN), "mkfs.no-such-file-system").unwrap();
        assert_eq!(reason, Some(PlainReason::MkfsMissing));
        assert!(leaves_nothing(&data));
    }

    #[test]
    fn a_new_image_file_that_does_not_mount_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let data = data_dir(temp.path());
        // A program that succeeds and makes no file system.
        let reason = attach(&data, Some(POOL_BYTES_MIN), "true").unwrap();
        assert!(matches!(reason, Some(PlainReason::MountFailed { .. })), "{reason:?}");
        assert!(leaves_nothing(&data));
    }

    #[test]
    fn a_format_that_fails_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let data = data_dir(temp.path());
        let error = attach(&data, Some(POOL_BYTES_MIN), "false").unwrap_err();
        assert!(matches!(error, PoolError::Format { .. }), "{error}");
        assert!(leaves_nothing(&data));
    }
}
