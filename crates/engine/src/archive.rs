//! Archives of trees as they go in and out: compressed tar streams. What all of them are held to is here; what is in
//! them is the agents' affair.

use std::{
    fmt,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::io::AsyncBufRead;

/// What taking one in holds in memory: the window that it may refer back to, and buffers.
pub const IMPORT_MEMORY_BYTES: usize = 9 << 20;
/// How long one may take, either way, however fast it moves.
pub(crate) const ARCHIVE_TIME_MAX: Duration = Duration::from_hours(1);
/// How much larger than the disk it comes from or goes to a tar stream may be. It has small holes as zeros, and a
/// small file is larger in it than on the disk.
const DISKS: u64 = 4;

/// What the tar stream of a sandbox with this disk limit may have, so that what goes out can come in again.
pub(crate) fn tar_bytes_max(disk_bytes: u64) -> u64 {
    disk_bytes.saturating_mul(DISKS)
}

/// An archive that is sent to a sandbox, as it comes: a tar stream in zstd frames.
pub struct Archive(Mutex<Reader>);

/// Where its bytes come from.
pub(crate) type Reader = Pin<Box<dyn AsyncBufRead + Send>>;

impl Archive {
    /// The archive that is read from here. It is dropped as soon as no more of it is wanted.
    pub fn new(reader: impl AsyncBufRead + Send + 'static) -> Self {
        // The lock is never waited for: it makes a reader that only one can use one that may be passed around.
        Self(Mutex::new(Box::pin(reader)))
    }

    pub(crate) fn into_reader(self) -> Reader {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Archive")
    }
}
