//! Folds the write-ahead log into the database, on a thread of its own: it waits for the disk, and a caller who
//! waits for a write must not.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

use rusqlite::{Connection, wal::CheckpointMode};

/// Pages in the log from which on, and again after as many more, the thread is asked to work. SQLite's own default.
const WAL_PAGES_SOFT: i32 = 1000;
/// Pages from which on the writer does the rest after the thread. Under steady writing the thread never quite
/// reaches the end of the log, which starts anew only from there; with the writer at rest, it is soon reached.
const WAL_PAGES_HARD: i32 = 8 * WAL_PAGES_SOFT;

/// The thread, as the writer holds it.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    is_busy: Arc<AtomicBool>,
    /// How long the log was when the thread was asked last.
    asked_at_pages: i32,
}

impl Checkpointer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let is_busy = Arc::new(AtomicBool::new(false));
        let busy = Arc::clone(&is_busy);
        let thread = Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            while woken.recv().is_ok() {
                wal_checkpoint(&connection);
                busy.store(false, Ordering::Release);
            }
        })?;
        Ok(Self { wake: Some(wake), thread: Some(thread), is_busy, asked_at_pages: 0 })
    }

    /// To be called by the writer between two transactions, with its connection and the length of the log.
    pub(crate) fn wal_bound(&mut self, writer: &Connection, wal_pages: i32) {
        self.asked_at_pages = self.asked_at_pages.min(wal_pages);
        if self.is_busy.load(Ordering::Acquire) {
            return;
        }
        if self.asked_at_pages >= WAL_PAGES_HARD {
            wal_checkpoint(writer);
        } else if wal_pages >= self.asked_at_pages + WAL_PAGES_SOFT {
            self.asked_at_pages = wal_pages;
            self.request();
        }
    }

    fn request(&self) {
        if let Some(wake) = &self.wake {
            self.is_busy.store(true, Ordering::Release);
            let _ = wake.try_send(());
        }
    }
}

/// Copies into the database what no reader or writer is in the way of. Failure is not an error yet: the log
/// keeps everything, and the next checkpoint tries again.
fn wal_checkpoint(connection: &Connection) {
    if let Err(error) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
        tracing::warn!(%error, "the store's write-ahead log could not be checkpointed");
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // Fails only for a thread that panicked, which has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::HostPath;
    use tempfile::TempDir;

    use super::*;
    use crate::connect::{Connections, store_connect};

    const LARGE_BYTES: u64 = 1 << 20;

    /// A store with something large in its log and not yet in its file.
    fn written() -> (TempDir, Connections) {
        let folder = tempfile::tempdir().unwrap();
        let connections = store_connect(&HostPath::new(folder.path().join("atoll.db"))).unwrap();
        connections.writer.execute_batch("CREATE TABLE large (x)").unwrap();
        connections.writer.execute("INSERT INTO large VALUES (zeroblob(?1))", [LARGE_BYTES]).unwrap();
        assert!(file_bytes(&folder) < LARGE_BYTES);
        (folder, connections)
    }

    fn file_bytes(folder: &TempDir) -> u64 {
        fs::metadata(folder.path().join("atoll.db")).unwrap().len()
    }

    #[test]
    fn the_thread_checkpoints_a_log_that_has_grown() {
        let (folder, connections) = written();
        let mut checkpointer = Checkpointer::start(connections.checkpointer).unwrap();
        checkpointer.wal_bound(&connections.writer, WAL_PAGES_SOFT - 1);
        assert!(!checkpointer.is_busy.load(Ordering::Acquire));
        checkpointer.wal_bound(&connections.writer, WAL_PAGES_SOFT);
        drop(checkpointer);
        assert!(file_bytes(&folder) > LARGE_BYTES);
    }

    #[test]
    fn the_writer_checkpoints_a_log_that_the_thread_does_not_finish() {
        let (folder, connections) = written();
        let mut checkpointer = Checkpointer::start(connections.checkpointer).unwrap();
        checkpointer.asked_at_pages = WAL_PAGES_HARD - 1;
        checkpointer.wal_bound(&connections.writer, WAL_PAGES_HARD);
        assert!(file_bytes(&folder) < LARGE_BYTES);
        checkpointer.asked_at_pages = WAL_PAGES_HARD;
        checkpointer.wal_bound(&connections.writer, WAL_PAGES_HARD);
        assert!(file_bytes(&folder) > LARGE_BYTES);
    }
}
