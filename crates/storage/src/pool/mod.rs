//! The pool: the file system that holds images, layers and snapshots, on btrfs wherever that can be had.
//!
//! It finds or makes the file system and says what it can do. It must not know subvolumes, qgroups and their
//! ioctls (those are the launcher's), nor what the folders hold.

mod direct;
mod growth;
mod image;
mod metadata;
mod quota;
mod reserve;
mod survey;

use std::{
    fs::{self, Permissions},
    io,
    os::{fd::BorrowedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use protocol::HostPath;

pub use self::{
    quota::Quota,
    survey::{PoolPlan, PoolSurvey, pool_survey},
};
pub use crate::host_command::HostCommandError;
use crate::{layout::DataDir, mounted};

/// The least that an image file is made with: btrfs gets unhappy much below it.
pub const POOL_BYTES_MIN: u64 = 1 << 30;
/// The most that an image file gets where the operator asks for no size.
const POOL_BYTES_DEFAULT_MAX: u64 = 100 << 30;

/// A request to the kernel about the file that the descriptor is of.
pub type KernelCall<'a> = dyn Fn(BorrowedFd<'_>) -> io::Result<()> + 'a;

/// Requests that the pool needs. Arguments, because raw system calls live in one place, and btrfs-progs before
/// 6.7 (Debian 12 has 6.2) cannot do the first. They are only made of a file system that Atoll itself made.
#[derive(Clone, Copy)]
pub struct KernelCalls<'a> {
    /// Turns simple quotas on for the btrfs that a folder lies on: `BTRFS_IOC_QUOTA_CTL` with
    /// `BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA` (`linux/btrfs.h`, Linux 6.7).
    pub quota_enable: &'a KernelCall<'a>,
    /// Lets a loop device have all of its file: `LOOP_SET_CAPACITY` (loop(4)).
    pub loop_grow: &'a KernelCall<'a>,
    /// Lets the btrfs that a folder lies on have all of its device: `BTRFS_IOC_RESIZE` with `max`.
    pub btrfs_grow: &'a KernelCall<'a>,
}

/// What the operator and the caller decide about the pool.
#[derive(Clone, Copy)]
pub struct PoolOptions<'a> {
    /// The size of the image file. A new one has by default half of the free space, at least
    /// [`POOL_BYTES_MIN`] and at most 100 GiB. One that is smaller grows; one that is larger stays. The file is
    /// sparse: it takes what is written.
    pub size_bytes: Option<u64>,
    /// How to ask the kernel.
    pub calls: KernelCalls<'a>,
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
    /// What is not as the operator wants it, each with what to do.
    pub notes: Vec<String>,
}

/// How much room a pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpace {
    /// Its size.
    pub total_bytes: u64,
    /// What can still be written.
    pub free_bytes: u64,
}

/// A launch never needs more than this part of the pool to be free, whatever its sandbox may write.
const FLOOR_SHARE: u64 = 16;

impl PoolSpace {
    /// What has to be free for a launch of a sandbox that may write so much.
    #[must_use]
    pub fn floor_bytes(&self, disk_bytes: u64) -> u64 {
        disk_bytes.min(self.total_bytes / FLOOR_SHARE)
    }
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

/// How much room the file system of the data directory has, which is the machine's own.
///
/// # Errors
/// When it can't be asked.
pub fn machine_space(data: &DataDir) -> io::Result<PoolSpace> {
    space(data.root().as_path())
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
    let kind = file_system_open(data, &path, options)?;
    let mut notes = Vec::new();
    let quota = match &kind {
        PoolKind::BtrfsImage => {
            direct::direct_wanted(path.as_path());
            notes.extend(growth::size_ensured(data, options));
            reserve::give_up_if_full(data);
            notes.extend(metadata::room_ensured(data));
            quota::simple_ensured(path.as_path(), options.calls.quota_enable)
        }
        PoolKind::BtrfsNative => quota::state(path.as_path()),
        PoolKind::Plain(_) => quota::plain(),
    };
    // The root of a new file system comes with a mode of its own.
    folder_private(path.as_path())?;
    for folder in [data.images(), data.sandboxes(), data.snapshots(), data.volumes()] {
        folder_private(folder.as_path())?;
    }
    Ok(Pool { kind, path, quota, notes })
}

/// Sets room aside that the next start has if sandboxes fill the pool. For when the start has written what it
/// needs.
pub fn pool_reserve(data: &DataDir, pool: &Pool) {
    if pool.kind == PoolKind::BtrfsImage {
        reserve::set_aside(data);
    }
}

fn file_system_open(
    data: &DataDir,
    path: &HostPath,
    options: PoolOptions<'_>,
) -> Result<PoolKind, PoolError> {
    match kind_found(data, path)? {
        Found::Open(kind) => Ok(kind),
        Found::Image => Ok(match image::attach(data, options.size_bytes, image::MKFS)? {
            None => PoolKind::BtrfsImage,
            Some(reason) => PoolKind::Plain(reason),
        }),
    }
}

/// What is there without anything being done.
enum Found {
    /// The pool, as it is.
    Open(PoolKind),
    /// An image file is to be mounted, or made.
    Image,
}

fn kind_found(data: &DataDir, path: &HostPath) -> Result<Found, PoolError> {
    let is_btrfs = mounted::is_btrfs(path.as_path()).map_err(failed("examine", path.as_path()))?;
    let is_mount = mounted::is_mount(path.as_path(), data.root().as_path())
        .map_err(failed("examine", path.as_path()))?;
    if is_btrfs && is_mount {
        let is_image = mounted::is_loop_of(path.as_path(), data.storage_image().as_path());
        return Ok(Found::Open(if is_image { PoolKind::BtrfsImage } else { PoolKind::BtrfsNative }));
    }
    if !data.storage_image().as_path().exists() {
        let mut in_use = false;
        for folder in [data.sandboxes(), data.snapshots(), data.volumes()] {
            in_use |= !is_empty(folder.as_path())?;
        }
        if is_btrfs && (in_use || quota::state(path.as_path()).holds()) {
            return Ok(Found::Open(PoolKind::BtrfsNative));
        }
        if in_use {
            let reason = PlainReason::InUse { path: path.as_path().to_owned() };
            return Ok(Found::Open(PoolKind::Plain(reason)));
        }
    }
    Ok(Found::Image)
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
