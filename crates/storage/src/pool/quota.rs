//! Whether the quotas of a btrfs are on, as the kernel shows it below `/sys/fs/btrfs/<uuid>/qgroups`.
//!
//! It must not know limits or qgroups: the launcher sets those.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use super::KernelCall;
use crate::mounted;

/// Whether a limit that is set on a layer is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Simple quotas: each extent belongs to the subvolume that wrote it. Cheap.
    Simple,
    /// Full qgroups, as the operator turned them on. Limits hold; many snapshots make them slow.
    Full,
    /// None: a sandbox can fill the pool.
    Off {
        /// Why.
        reason: String,
    },
}

impl Quota {
    /// Whether limits are held.
    #[must_use]
    pub fn holds(&self) -> bool {
        !matches!(self, Self::Off { .. })
    }
}

/// Those of a plain folder.
pub(super) fn plain() -> Quota {
    Quota::Off { reason: "a plain folder has none".to_owned() }
}

/// What the kernel says about the btrfs at `path`.
pub(super) fn state(path: &Path) -> Quota {
    let Some(folder) = qgroups_folder(path) else {
        return Quota::Off { reason: "quotas are not turned on".to_owned() };
    };
    let enabled = fs::read_to_string(folder.join("enabled")).unwrap_or_default();
    let mode = fs::read_to_string(folder.join("mode")).unwrap_or_default();
    parse(enabled.trim(), mode.trim())
}

/// Turns simple quotas on where none are, and says what is then.
pub(super) fn simple_ensured(path: &Path, enable: &KernelCall<'_>) -> Quota {
    let before = state(path);
    if before.holds() {
        return before;
    }
    match File::open(path).and_then(|folder| enable(folder.as_fd())) {
        Ok(()) => state(path),
        Err(error) => Quota::Off { reason: reason_of(&error) },
    }
}

fn reason_of(error: &io::Error) -> String {
    format!("simple quotas cannot be turned on, they need Linux 6.7: {error}")
}

/// The folder exists once quotas were turned on.
fn qgroups_folder(path: &Path) -> Option<PathBuf> {
    let folder = mounted::btrfs_facts(path)?.join("qgroups");
    folder.exists().then_some(folder)
}

fn parse(enabled: &str, mode: &str) -> Quota {
    match (enabled, mode) {
        ("1", "squota") => Quota::Simple,
        ("1", _) => Quota::Full,
        _ => Quota::Off { reason: "quotas are turned off".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_understood() {
        assert_eq!(parse("1", "squota"), Quota::Simple);
        assert_eq!(parse("1", "qgroup"), Quota::Full);
        assert!(!parse("0", "disabled").holds());
        assert!(!parse("", "").holds());
    }
}
