//! The threads that run queries, each with a connection that cannot write.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use rusqlite::Connection;

/// A query, which sends its own answer.
pub(crate) type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The threads and the queue that they share.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Option<Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each connection.
    pub(crate) fn start(connections: Vec<Connection>) -> io::Result<Self> {
        let (queue, queries) = channel();
        let queries = Arc::new(Mutex::new(queries));
        // Its drop ends the threads already started if a later one cannot be.
        let mut readers = Self { queue: Some(queue), threads: Vec::new() };
        for connection in connections {
            let queries = Arc::clone(&queries);
            let thread =
                Builder::new().name("store-read".to_owned()).spawn(move || run(&connection, &queries))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Hands over a query. It is dropped, and its answer with it, if no thread lives.
    pub(crate) fn send(&self, query: Query) {
        if let Some(queue) = &self.queue {
            let _ = queue.send(query);
        }
    }
}

fn run(connection: &Connection, queries: &Mutex<Receiver<Query>>) {
    loop {
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        query(connection);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // Fails only for a thread that panicked, which has said so.
            let _ = thread.join();
        }
    }
}
