//! What agents tell in output frames, each of which holds one list in postcard encoding: the entries of a folder,
//! processes, changes of files.
//!
//! Paths are bytes, as the kernel has them: relative, in the normal form of [`crate::entry_name`].

use serde::{Deserialize, Serialize};

/// Something below a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Where, relative to the folder.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its size.
        size_bytes: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// A process of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its number inside.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its name, as the kernel shows it: at most 15 bytes.
    pub name: String,
    /// Its arguments, the program among them; of long ones the beginning. None of a zombie.
    pub argv: Vec<String>,
    /// `R`, `S`, `D`, `T`, `Z` and the other letters of proc_pid_stat(5).
    pub state: char,
    /// Thousandths of one processor that it used since an earlier look, half a second ago or more; since its start where
    /// it was not seen before.
    pub cpu_millis: u64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: i64,
}

/// Something that happened below a folder that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where, relative to the folder; empty for the folder itself, and for [`ChangeKind::Everything`].
    pub path: Vec<u8>,
    /// Whether it is, or was, a folder.
    pub is_folder: bool,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It has other content.
    Changed,
    /// It is gone.
    Deleted,
    /// It has another name: what was there, if anything was, is replaced.
    Moved {
        /// The one it had, below the same folder.
        from: Vec<u8>,
    },
    /// More may have changed, anywhere below the folder, than could be told or watched.
    Everything,
}
