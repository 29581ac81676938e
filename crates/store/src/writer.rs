//! The one thread that writes. All batches that wait go into one transaction (group commit).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc::{Receiver, SendError, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use rusqlite::{Connection, Savepoint, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{Batch, StoreError, checkpoint::Checkpointer, error::Fault};

/// The most batches in one transaction, so that the first of them does not wait for ever.
const GROUP_MAX: usize = 4096;
type Reply = oneshot::Sender<Result<(), StoreError>>;

/// The thread and its queue.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<Sender<(Batch, Reply)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection, checkpointer: Checkpointer) -> io::Result<Self> {
        let (queue, requests) = channel();
        let thread = Builder::new()
            .name("store-write".to_owned())
            .spawn(move || run(connection, &requests, checkpointer))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Hands over a batch. Does not block.
    pub(crate) fn send(&self, batch: Batch, reply: Reply) -> Result<(), SendError<(Batch, Reply)>> {
        match &self.queue {
            Some(queue) => queue.send((batch, reply)),
            None => Err(SendError((batch, reply))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // Fails only for a thread that panicked, which has said so.
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, requests: &Receiver<(Batch, Reply)>, mut checkpointer: Checkpointer) {
    let wal_pages = Arc::new(AtomicI32::new(0));
    let seen = Arc::clone(&wal_pages);
    // It also takes the place of SQLite's automatic checkpoint, which would run inside a commit.
    let hooked = connection.wal_hook(Some(move |_: &mut _, pages| {
        seen.store(pages, Ordering::Relaxed);
        Ok(())
    }));
    if let Err(error) = hooked {
        tracing::warn!(%error, "the store checkpoints inside of commits");
    }
    let mut durable = false;
    while let Ok(first) = requests.recv() {
        let (batches, replies): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(requests.try_iter().take(GROUP_MAX - 1)).unzip();
        let wants = batches.iter().any(Batch::is_durable);
        let results = synchronous_set(&connection, &mut durable, wants)
            .and_then(|()| group_commit(&mut connection, batches))
            .unwrap_or_else(|error| replies.iter().map(|_| Err(error.clone())).collect());
        for (reply, result) in replies.into_iter().zip(results) {
            // A failed send means that the caller has gone.
            let _ = reply.send(result);
        }
        checkpointer.wal_bound(&connection, wal_pages.load(Ordering::Relaxed));
    }
}

/// Has commits from here on wait for the disk, or not (<https://sqlite.org/pragma.html#pragma_synchronous>).
fn synchronous_set(connection: &Connection, is: &mut bool, wanted: bool) -> Result<(), StoreError> {
    if *is != wanted {
        let level = if wanted { "full" } else { "normal" };
        let set = connection.pragma_update(None, "synchronous", level);
        set.map_err(|error| Fault::from(error).at("synchronous"))?;
        *is = wanted;
    }
    Ok(())
}

/// One transaction, one result for each batch. A batch that fails leaves the others be, unless the failure
/// ends the transaction: that is the error of all.
fn group_commit(
    connection: &mut Connection,
    batches: Vec<Batch>,
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let mut transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| Fault::from(error).at("begin"))?;
    let mut results = Vec::with_capacity(batches.len());
    for batch in batches {
        let result = batch_execute(&mut transaction, batch);
        // SQLite rolls everything back by itself when, for one, the disk is full
        // (https://sqlite.org/lang_transaction.html, "Response to errors within a transaction").
        if let Err(error) = &result
            && transaction.is_autocommit()
        {
            return Err(error.clone());
        }
        results.push(result);
    }
    transaction.commit().map_err(|error| Fault::from(error).at("commit"))?;
    Ok(results)
}

fn batch_execute(transaction: &mut Transaction<'_>, batch: Batch) -> Result<(), StoreError> {
    let at = |error: rusqlite::Error| Fault::from(error).at("savepoint");
    let savepoint: Savepoint<'_> = transaction.savepoint().map_err(at)?;
    // Dropped without a commit, it rolls back.
    batch.execute(&savepoint)?;
    savepoint.commit().map_err(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (x UNIQUE)").unwrap();
        connection
    }

    fn insert(values: &[u32]) -> Batch {
        values.iter().fold(Batch::new(), |batch, &value| {
            batch.with("insert", move |connection| {
                connection.execute("INSERT INTO t VALUES (?1)", [value])?;
                Ok(())
            })
        })
    }

    fn stored(connection: &Connection) -> Vec<u32> {
        let mut statement =
            connection.prepare("SELECT x FROM t WHERE typeof(x) = 'integer' ORDER BY x").unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_batch_that_fails_leaves_its_group_be() {
        let mut connection = database();
        let group = vec![insert(&[1, 2]), insert(&[3, 1]), insert(&[4])];
        let results = group_commit(&mut connection, group).unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(stored(&connection), [1, 2, 4]);
    }

    #[test]
    fn a_full_disk_fails_the_whole_group_and_the_next_one_works() {
        let mut connection = database();
        connection.pragma_update(None, "max_page_count", 20).unwrap();
        let large = Batch::new().with("large", |connection| {
            connection.execute("INSERT INTO t VALUES (zeroblob(1000000))", ())?;
            Ok(())
        });
        let error = group_commit(&mut connection, vec![insert(&[1]), large, insert(&[2])]).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { operation: "large" }), "{error}");
        assert!(stored(&connection).is_empty());
        group_commit(&mut connection, vec![insert(&[3])]).unwrap();
        assert_eq!(stored(&connection), [3]);
    }
}
