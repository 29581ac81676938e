//! Folders that outlive a sandbox, or belong to the host, as a launch asks for them.
//!
//! A source is a name that the launcher knows: a volume's id, or the number of a folder that the operator allowed with a
//! path below it. Types and what they must hold; nothing here opens a file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{GuestPath, VolumeId, path::names_folded};

/// Volumes of one sandbox.
pub const VOLUMES_MAX: usize = 16;
/// Bytes of all their paths together: well within a datagram.
pub const VOLUME_PATHS_BYTES_MAX: usize = 32 << 10;

/// A folder that a sandbox is to have at a place of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// What.
    pub source: VolumeSource,
    /// The folder of it that is meant; itself if that is empty.
    pub sub_path: RelativePath,
    /// Where in the sandbox.
    pub target: GuestPath,
    /// Nothing can be written through it.
    pub read_only: bool,
}

/// Where a volume's files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// A volume of the storage.
    Named(VolumeId),
    /// A folder of the host.
    Host {
        /// Which of the folders that the operator allowed, in their order.
        prefix: u8,
        /// Which folder below it.
        path: RelativePath,
    },
}

/// What is wrong with a volume of a launch that failed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFault {
    /// Which, in the order of the request.
    pub index: u8,
    /// What.
    pub kind: VolumeFaultKind,
}

/// See [`VolumeFault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeFaultKind {
    /// There is no such folder on the host, or a link lies on the way.
    Source,
    /// There is no such folder in the volume, or a link lies on the way.
    SubPath,
    /// It can't be mounted there: a link or a file lies on the way.
    Target,
    /// It is to be written and belongs to root.
    OwnedByRoot,
    /// The folder's file system does not map owners.
    Unmappable,
}

/// A path below some folder: names and slashes, no `..`, nothing at its start or end. Empty for the folder itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

/// Why a text is no [`RelativePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelativePath {
    /// It starts with a slash.
    #[error("must be relative")]
    Absolute,
    /// It has a `..`.
    #[error("must not contain `..`")]
    Parent,
    /// It has a NUL.
    #[error("contains a NUL byte")]
    Nul,
    /// A name is over 255 bytes, or the whole over 4095.
    #[error("is too long, or one of its names is")]
    TooLong,
}

impl RelativePath {
    /// Takes a path; `.` and repeated slashes are folded away.
    ///
    /// # Errors
    /// [`InvalidRelativePath`].
    pub fn new(text: &str) -> Result<Self, InvalidRelativePath> {
        if text.starts_with('/') {
            return Err(InvalidRelativePath::Absolute);
        }
        if text.contains('\0') {
            return Err(InvalidRelativePath::Nul);
        }
        if text.split('/').any(|name| name == "..") {
            return Err(InvalidRelativePath::Parent);
        }
        names_folded(text).map(Self).ok_or(InvalidRelativePath::TooLong)
    }

    /// Its names, in order; none for the folder itself.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidRelativePath;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Where no volume is mounted, nor below: what a sandbox's own system is made of, and what Atoll puts there.
const CLOSED: [&str; 5] = ["/proc", "/sys", "/dev", "/etc", "/opt/atoll"];
/// Where none is mounted, though below one may be: what that would hide, programs do not run without.
const CLOSED_THEMSELVES: [&str; 10] =
    ["/", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/tmp", "/var", "/run"];

/// Whether a volume may be mounted at a place, by its name.
#[must_use]
pub fn is_target(target: &GuestPath) -> bool {
    let text = target.as_str();
    let closed =
        |folder: &str| text.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !CLOSED.into_iter().any(closed) && !CLOSED_THEMSELVES.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_stays_below_its_folder() {
        for (text, path) in
            [("", ""), ("a", "a"), ("a//b/", "a/b"), ("./a/.", "a"), (".", ""), ("...", "...")]
        {
            assert_eq!(RelativePath::new(text).unwrap().as_str(), path, "{text:?}");
        }
        for (text, why) in [
            ("/a", InvalidRelativePath::Absolute),
            ("..", InvalidRelativePath::Parent),
            ("a/../b", InvalidRelativePath::Parent),
            ("a\0", InvalidRelativePath::Nul),
            (&"x".repeat(256), InvalidRelativePath::TooLong),
            (&"x/".repeat(3000), InvalidRelativePath::TooLong),
        ] {
            assert_eq!(RelativePath::new(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_path_is_checked_when_it_is_decoded() {
        let bytes = postcard::to_stdvec("../etc").unwrap();
        assert!(postcard::from_bytes::<RelativePath>(&bytes).is_err());
    }

    #[test]
    fn no_volume_hides_the_system() {
        let is = |text: &str| is_target(&GuestPath::absolute(text).unwrap());
        for text in
            ["/", "/etc", "/etc/ssl", "/proc/1", "/sys", "/dev/shm", "/usr", "/tmp", "/opt/atoll/x", "/opt"]
        {
            assert!(!is(text), "{text}");
        }
        for text in
            ["/data", "/sandbox", "/procs", "/etcetera", "/usr/local/x", "/tmp/x", "/opt/x", "/home/u"]
        {
            assert!(is(text), "{text}");
        }
    }
}
