//! The pool: the file system that holds images, layers and snapshots, on btrfs wherever that can be had.
//!
//! It finds or makes the file system and says what it can do. It must not know subvolumes, qgroups and their
//! ioctls (those are the launcher's), nor what the folders hold.

mod image;
mod quota;

use std::{
    fs::{self, Permissions},
    io,
    os::{fd::BorrowedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use protocol::HostPath;

pub use self::quota::Quota;
pub use crate::host_command::HostCommandError;
use crate::{layout::DataDir, mounted};

/// The least that an image file is made with: btrfs gets unhappy much below it.
pub const POOL_BYTES_MIN: u64 = 1 << 30;
/// The most that an image file gets where the operator asks for no size.
const POOL_BYTES_DEFAULT_MAX: u64 = 100 << 30;

/// Turns simple quotas on for the btrfs that the descriptor lies on: `BTRFS_IOC_QUOTA_CTL` with
/// `BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA` (`linux/btrfs.h`, Linux 6.7). An argument, because raw system calls
/// live in one place, and btrfs-progs before 6.7 (Debian 12 has 6.2) cannot do it.
pub type QuotaEnable = dyn Fn(BorrowedFd<'_>) -> io::Result<()>;

/// What the operator and the caller decide about the pool.
#[derive(Clone, Copy)]
pub struct PoolOptions<'a> {
    /// The size of a new image file. By default half of the free space, at least [`POOL_BYTES_MIN`] and at
    /// most 100 GiB. The file is sparse: it takes what is written. An existing file keeps its size.
    pub size_bytes: Option<u64>,
    /// How to turn simple quotas on. Only called for a file system that Atoll itself made.
    pub quota_enable: &'a QuotaEnable,
}

/// What the pool lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// A btrfs of the operator, with quotas on: the one below the data directory, or one mounted at `storage/`.
    /// Its settings are left alone.
    BtrfsNative,
    /// A btrfs in the image file `storage.btrfs`, attached through a loop device.
    BtrfsImage,
    /// A plain folder: snapshots are copies, and nothing limits what a sandbox writes.
    Plain(PlainReason),
}

/// Why btrfs could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlainReason {
    /// The pool was plain at an earlier start and is not empty: a file system mounted over it would hide that.
    #[error("{path} is a plain folder with sandboxes in it; remove them to get a btrfs at the next start")]
    InUse {
        /// The pool.
        path: PathBuf,
    },
    /// The host has no `mkfs.btrfs`.
    #[error("`mkfs.btrfs` is not installed; run `apt-get install btrfs-progs`")]
    MkfsMissing,
    /// The kernel has no btrfs, or there is no loop device; in the words of mount(8).
    #[error(
        "an image file cannot be mounted: {message}; `modprobe btrfs loop` may help, or mount a btrfs at {path}"
    )]
    MountFailed {
        /// What mount(8) said.
        message: String,
        /// Where a btrfs would be used.
        path: PathBuf,
    },
}

/// An open pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What it lies on.
    pub kind: PoolKind,
    /// Where it is: the data directory's `storage/`.
    pub path: HostPath,
    /// Whether a limit set on a layer is held.
    pub quota: Quota,
}

/// How much room a pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpace {
    /// Its size.
    pub total_bytes: u64,
    /// What can still be written.
    pub free_bytes: u64,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The size asked for is below [`POOL_BYTES_MIN`].
    #[error("a pool of {size_bytes} bytes is too small; give at least {POOL_BYTES_MIN}")]
    TooSmall {
        /// What was asked for.
        size_bytes: u64,
    },
    /// The disk has not even room for the smallest pool.
    #[error(
        "{path} has {free_bytes} bytes free, a pool needs {POOL_BYTES_MIN}; make room or choose another folder"
    )]
    NoSpace {
        /// The data directory.
        path: PathBuf,
        /// What is free.
        free_bytes: u64,
    },
    /// The image file of an earlier start does not mount. It holds sandboxes, so it is neither passed over nor
    /// made anew.
    #[error("the pool's image file {path} cannot be mounted; repair it (`btrfs check`) or move it away")]
    Unmountable {
        /// The image file.
        path: PathBuf,
        /// What mount(8) said.
        source: HostCommandError,
    },
    /// The new image file got no file system.
    #[error("cannot make a btrfs in {path}")]
    Format {
        /// The image file.
        path: PathBuf,
        /// What mkfs.btrfs(8) said.
        source: HostCommandError,
    },
    /// A system call failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Pool {
    /// Whether layers are subvolumes, and snapshots take constant time.
    #[must_use]
    pub fn is_btrfs(&self) -> bool {
        !matches!(self.kind, PoolKind::Plain(_))
    }

    /// How much room there is, by statvfs(3).
    ///
    /// # Errors
    /// What the kernel said.
    pub fn space(&self) -> io::Result<PoolSpace> {
        space(self.path.as_path())
    }
}

/// How much room the pool of `data` has. Works without privileges.
///
/// # Errors
/// What the kernel said, for example that there is no pool.
pub fn pool_space(data: &DataDir) -> io::Result<PoolSpace> {
    space(data.storage().as_path())
}

/// Opens the pool of `data`, made where it is missing. Needs root and the data directory's lock.
///
/// In this order: a btrfs mounted at `storage/` (by an earlier start or by the operator); the btrfs below the
/// data directory, if quotas are on there; the image file, made if it is missing; a plain folder. Quotas are
/// never turned on in a file system of the operator: older kernels would no longer mount it. A pool that holds
/// something stays what it was.
///
/// # Errors
/// [`PoolError`]. That btrfs cannot be had is none: the pool is [`PoolKind::Plain`] then and says why.
pub fn pool_open(data: &DataDir, options: PoolOptions<'_>) -> Result<Pool, PoolError> {
    let path = data.storage();
    let (kind, quota) = file_system_open(data, &path, options)?;
    // The root of a new file system comes with a mode of its own.
    folder_private(path.as_path())?;
    for folder in [data.images(), data.sandboxes(), data.snapshots()] {
        folder_private(folder.as_path())?;
    }
    Ok(Pool { kind, path, quota })
}

fn file_system_open(
    data: &DataDir,
    path: &HostPath,
    options: PoolOptions<'_>,
) -> Result<(PoolKind, Quota), PoolError> {
    let is_btrfs = mounted::is_btrfs(path.as_path()).map_err(failed("examine", path.as_path()))?;
    let is_mount = mounted::is_mount(path.as_path(), data.root().as_path())
        .map_err(failed("examine", path.as_path()))?;
    if is_btrfs && is_mount {
        if mounted::is_loop_of(path.as_path(), data.storage_image().as_path()) {
            return Ok((PoolKind::BtrfsImage, quota::simple_ensured(path.as_path(), options.quota_enable)));
        }
        return Ok((PoolKind::BtrfsNative, quota::state(path.as_path())));
    }
    if !data.storage_image().as_path().exists() {
        let in_use = !is_empty(data.sandboxes().as_path())? || !is_empty(data.snapshots().as_path())?;
        let quota = quota::state(path.as_path());
        if is_btrfs && (quota.holds() || in_use) {
            return Ok((PoolKind::BtrfsNative, quota));
        }
        if in_use {
            return Ok(plain(PlainReason::InUse { path: path.as_path().to_owned() }));
        }
    }
    match image::attach(data, options.size_bytes, image::MKFS)? {
        None => Ok((PoolKind::BtrfsImage, quota::simple_ensured(path.as_path(), options.quota_enable))),
        Some(reason) => Ok(plain(reason)),
    }
}

fn plain(reason: PlainReason) -> (PoolKind, Quota) {
    (PoolKind::Plain(reason), Quota::Off { reason: "a plain folder has none".to_owned() })
}

fn is_empty(folder: &Path) -> Result<bool, PoolError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("list", folder)(error)),
    }
}

/// Unmounts the pool if it is an image file; its loop device goes with it (it is attached with autoclear).
/// The file stays.
///
/// # Errors
/// [`PoolError::Io`], `EBUSY` among them while something still uses the pool.
pub fn pool_close(pool: &Pool) -> Result<(), PoolError> {
    let path = pool.path.as_path();
    match pool.kind {
        PoolKind::BtrfsImage => rustix::mount::unmount(path, rustix::mount::UnmountFlags::empty())
            .map_err(|errno| failed("unmount", path)(errno.into())),
        PoolKind::BtrfsNative | PoolKind::Plain(_) => Ok(()),
    }
}

fn space(path: &Path) -> io::Result<PoolSpace> {
    let stat = rustix::fs::statvfs(path)?;
    let total_bytes = stat.f_blocks.saturating_mul(stat.f_frsize);
    Ok(PoolSpace { total_bytes, free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize) })
}

fn folder_private(path: &Path) -> Result<(), PoolError> {
    fs::create_dir_all(path).map_err(failed("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("change the mode of", path))
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PoolError {
    let path = path.to_owned();
    move |source| PoolError::Io { step, path, source }
}
