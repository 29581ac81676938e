//! The store as its users hold it: open it once, share it, apply batches, ask queries.

use protocol::HostPath;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    Batch, OpenError, StoreError,
    checkpoint::Checkpointer,
    connect::{Connections, store_connect, store_connect_beside},
    error::Fault,
    lock::Lock,
    reader::Readers,
    writer::Writer,
};

/// An open store. Put it in an `Arc` and call it from as many tasks as there are: no call blocks the thread it
/// is polled on, and none needs a particular async runtime.
///
/// Dropping it waits until all batches that were handed over are written, folds the write-ahead log into the
/// file and lets go of it: some milliseconds of blocking work.
#[derive(Debug)]
pub struct Store {
    // Dropped in this order: whoever comes next may open the file only after the last connection is closed.
    readers: Readers,
    writer: Writer,
    lock: Option<Lock>,
}

impl Store {
    /// Opens the store at `path`, makes it (mode 0600) if there is none, and brings its schema up to date.
    ///
    /// Blocks: it reads the whole file to check that it is sound. It starts threads, so a process that forks
    /// must do so before. SQLite makes and removes files beside `path` as long as the store is open, so the
    /// process must keep the right to write in that folder.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be used, and why.
    pub fn open(path: &HostPath) -> Result<Self, OpenError> {
        Self::start(path, store_connect(path)?)
    }

    /// As [`Self::open`]; but where a server has the store open, opens it beside that one, for a short while and a
    /// few changes. Such a store is neither checked nor migrated.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be used, and why.
    pub fn open_beside(path: &HostPath) -> Result<Self, OpenError> {
        Self::start(path, store_connect_beside(path)?)
    }

    /// Whether a server had the store open already when this one was opened.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        self.lock.is_none()
    }

    fn start(path: &HostPath, connections: Connections) -> Result<Self, OpenError> {
        let thread_failed = |source| OpenError::Io { path: path.clone(), step: "start a thread", source };
        let readers = Readers::start(connections.readers).map_err(thread_failed)?;
        let checkpointer = Checkpointer::start(connections.checkpointer).map_err(thread_failed)?;
        let writer = Writer::start(connections.writer, checkpointer).map_err(thread_failed)?;
        Ok(Self { readers, writer, lock: connections.lock })
    }

    /// Stores all changes of `batch`, or none of them. Batches that one task applies one after the other are
    /// stored in that order; `Ok` means that every later query sees them.
    ///
    /// If the future is dropped after its first poll, the batch may or may not be stored, but never a part of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and [`StoreError::Exists`] as each change says; the others when the disk or the
    /// database fails.
    pub async fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.submit(batch).await
    }

    /// As [`Self::apply`], but handed over at once: what is applied or submitted later is stored later. The future
    /// says what came of it.
    pub fn submit(&self, batch: Batch) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let stopped = || StoreError::Stopped { operation: "apply" };
        let (reply, answer) = oneshot::channel();
        let sent = self.writer.send(batch, reply).map_err(|_| stopped());
        async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(stopped()))
        }
    }

    pub(crate) async fn query<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.readers.send(Box::new(move |connection| {
            // A failed send means that the caller has gone and wants no answer.
            let _ = reply.send(run(connection).map_err(|fault| fault.at(operation)));
        }));
        answer.await.unwrap_or(Err(StoreError::Stopped { operation }))
    }
}
