//! Keeps a second server away from the store: an flock(2) on a file beside it.
//!
//! Not on the database itself: closing any descriptor of it would drop SQLite's own locks
//! (<https://sqlite.org/howtocorrupt.html>, section 2.2).

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// Between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Held while a store is open. The kernel lets go of it when the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// As [`Self::acquire`], and tries again for a while before it gives up.
    pub(crate) fn wait(database: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let until = Instant::now() + patience;
        loop {
            match Self::acquire(database)? {
                None if Instant::now() < until => sleep(PAUSE),
                outcome => return Ok(outcome),
            }
        }
    }

    /// Takes the lock of the database at `database`; `None` where another holds it.
    pub(crate) fn acquire(database: &Path) -> io::Result<Option<Self>> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The last holder may have removed the file after it was opened here: then this lock is on a
            // file without a name, which nobody else would find.
            match fs::metadata(&path) {
                Ok(named) if is_same(&named, &file.metadata()?) => {
                    return Ok(Some(Self { path, _file: file }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked, so nobody else's lock is removed. If it stays behind, it does no harm.
        let _ = fs::remove_file(&self.path);
    }
}
