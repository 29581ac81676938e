//! One entry of an archive, as both directions know it. It must not know tar's encoding, nor the file system.

/// A file, folder, link or pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the tree's folder, normal: no empty, `.` or `..` part. Empty for the folder itself.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits, set-user-id and the like included.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Time,
    pub(super) attributes: Attributes,
}

/// Extended attributes: names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        size_bytes: u64,
    },
    Folder,
    Symlink {
        target: Vec<u8>,
    },
    /// A further name of the file at this path of the tree.
    HardLink {
        target: Vec<u8>,
    },
    Fifo,
}

/// A time since the epoch; `nanos` count up from `seconds`, also before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

impl Entry {
    /// Bytes of names and attributes.
    pub(super) fn metadata_bytes(&self) -> usize {
        let target = match &self.kind {
            Kind::Symlink { target } | Kind::HardLink { target } => target.len(),
            Kind::File { .. } | Kind::Folder | Kind::Fifo => 0,
        };
        let attributes: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.path.len() + target + attributes
    }
}
