//! The native runtime's isolation: plans (pure), their application (privileged), and the launcher.
//!
//! - [`host`] finds out what the machine offers.
//! - [`plan`] turns a request and those facts into a [`plan::LaunchPlan`], without touching anything.
//! - `apply` carries a plan out, in the process that becomes the sandbox's first.
//! - [`unpacking`] takes a process that reads hostile bytes away from the host.
//! - [`launcher`] is the privileged process; [`client`] is how the server talks to it.
//!
//! It must not know HTTP, dialects or the store. System calls that need `unsafe` are in `sys.rs` alone.

mod apply;
pub mod client;
mod failure;
pub mod host;
pub mod instance;
pub mod launcher;
mod netlink;
pub mod plan;
pub mod privileges;
mod sys;
pub mod unpacking;
mod user_namespace;

pub use failure::StepError;

/// Turns simple quotas on for the btrfs that a folder lies in (btrfs-ioctl(2), Linux 6.7).
///
/// # Errors
/// What the kernel says: it needs root and a btrfs.
pub fn btrfs_quota_enable(folder: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(sys::quota_enable(folder)?)
}

/// Takes a read-only snapshot of a subvolume, as the launcher does: to compare with.
///
/// # Errors
/// What the kernel says.
pub fn btrfs_snapshot_create(
    subvolume: std::os::fd::BorrowedFd<'_>,
    folder: std::os::fd::BorrowedFd<'_>,
    name: &str,
) -> std::io::Result<()> {
    Ok(sys::subvolume_snapshot(subvolume, folder, name, true, sys::SnapshotQuota::default())?)
}

/// Removes a subvolume with all it holds.
///
/// # Errors
/// What the kernel says.
pub fn btrfs_subvolume_destroy(folder: std::os::fd::BorrowedFd<'_>, name: &str) -> std::io::Result<()> {
    Ok(sys::subvolume_destroy(folder, name)?)
}

/// Lets the btrfs that a folder lies in have all of its device (btrfs-ioctl(2)).
///
/// # Errors
/// What the kernel says: it needs root and a btrfs that no balance runs on.
pub fn btrfs_grow(folder: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(sys::btrfs_grow(folder)?)
}

/// Lets a loop device have all of its file, which has become longer (loop(4)).
///
/// # Errors
/// What the kernel says: it needs root and a loop device.
pub fn loop_grow(device: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    Ok(sys::loop_grow(device)?)
}
