//! What is mounted at a path: by statfs(2), statx(2), `/proc/self/mountinfo` and the loop devices in `/sys`.
//!
//! It reads only. It must not know what Atoll mounts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statfs, statx};

/// `BTRFS_SUPER_MAGIC` of `linux/magic.h`.
const BTRFS_SUPER_MAGIC: u64 = 0x9123_683E;

/// Whether `path` lies on btrfs.
pub(crate) fn is_btrfs(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.f_type as u64 == BTRFS_SUPER_MAGIC)
}

/// Whether `path`, a folder in `parent`, is a mount of its own.
pub(crate) fn is_mount(path: &Path, parent: &Path) -> io::Result<bool> {
    Ok(mount_id(path)? != mount_id(parent)?)
}

/// The block device under `path`, for example `/dev/loop0`; `None` where the file system has none.
pub(crate) fn device(path: &Path) -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(source_of(&text, mount_id(path)?).and_then(|source| fs::canonicalize(source).ok()))
}

/// Whether the device under `path` is a loop device over the file `image`.
pub(crate) fn is_loop_of(path: &Path, image: &Path) -> bool {
    let Ok(Some(device)) = device(path) else { return false };
    let Some(name) = device.file_name() else { return false };
    let file = Path::new("/sys/class/block").join(name).join("loop/backing_file");
    let (Ok(backing), Ok(image)) = (fs::read_to_string(file), fs::canonicalize(image)) else { return false };
    Path::new(backing.trim_end_matches('\n')) == image
}

/// The size of the block device `device`, in bytes.
pub(crate) fn device_bytes(device: &Path) -> io::Result<u64> {
    let name = device.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let file = Path::new("/sys/class/block").join(name).join("size");
    let text = fs::read_to_string(file)?;
    // In sectors of 512 bytes, whatever the device's own are (kernel block/stat).
    let sectors: u64 = text.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(sectors.saturating_mul(512))
}

/// What the kernel shows of the btrfs at `path`: `/sys/fs/btrfs/<uuid>`, found by the device.
pub(crate) fn btrfs_facts(path: &Path) -> Option<PathBuf> {
    let device = device(path).ok()??;
    let name = device.file_name()?;
    let file_systems = fs::read_dir("/sys/fs/btrfs").ok()?;
    let mut folders = file_systems.filter_map(Result::ok).map(|entry| entry.path());
    folders.find(|folder| folder.join("devices").join(name).exists())
}

fn mount_id(path: &Path) -> io::Result<u64> {
    Ok(statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// The source of the mount `id`: the second field after the lone hyphen (proc_pid_mountinfo(5)).
fn source_of(mountinfo: &str, id: u64) -> Option<&str> {
    let line =
        mountinfo.lines().find(|line| line.split(' ').next().is_some_and(|field| field.parse() == Ok(id)))?;
    let (_, after) = line.split_once(" - ")?;
    after.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_found_by_the_number_of_the_mount() {
        let text = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                    95 22 0:47 / /var/lib/atoll/storage rw,nosuid - btrfs /dev/loop0 rw,discard=async\n";
        assert_eq!(source_of(text, 95), Some("/dev/loop0"));
        assert_eq!(source_of(text, 22), Some("/dev/vda"));
        assert_eq!(source_of(text, 9), None);
    }

    #[test]
    fn mounts_of_this_machine_are_seen() {
        assert!(is_mount(Path::new("/proc"), Path::new("/")).unwrap());
        assert!(!is_mount(Path::new("/proc/self"), Path::new("/proc")).unwrap());
        assert!(!is_btrfs(Path::new("/proc")).unwrap());
        assert!(!is_loop_of(Path::new("/proc"), Path::new("/etc/passwd")));
    }
}
