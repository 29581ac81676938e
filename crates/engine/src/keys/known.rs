//! The keys that the engine holds in memory, kept in step with the store, which other processes change too.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use store::{Counter, Store};
use tokio::sync::Mutex;

use super::{KeyTable, NOTICED_WITHIN};
use crate::{Error, Result};

/// The keys as of some moment in the last [`NOTICED_WITHIN`].
#[derive(Debug)]
pub(crate) struct KnownKeys {
    seen: RwLock<Seen>,
    /// Held by whoever looks whether something has changed.
    looking: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Seen {
    table: Arc<KeyTable>,
    changes: u64,
    at: Instant,
}

impl KnownKeys {
    /// Reads the keys.
    pub(crate) async fn read(store: &Store) -> Result<Self> {
        let seen = Seen::read(store, Instant::now()).await?;
        Ok(Self { seen: RwLock::new(seen), looking: Mutex::new(()) })
    }

    /// The keys, at most [`NOTICED_WITHIN`] old. Most calls touch memory only.
    pub(crate) async fn table(&self, store: &Store) -> Result<Arc<KeyTable>> {
        if let Some(table) = self.fresh() {
            return Ok(table);
        }
        let _looking = self.looking.lock().await;
        if let Some(table) = self.fresh() {
            return Ok(table);
        }
        self.look(store).await
    }

    /// Takes note of a change that this process has made.
    pub(crate) async fn changed(&self, store: &Store) -> Result<()> {
        let _looking = self.looking.lock().await;
        self.look(store).await.map(|_| ())
    }

    fn fresh(&self) -> Option<Arc<KeyTable>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        (seen.at.elapsed() < NOTICED_WITHIN).then(|| Arc::clone(&seen.table))
    }

    async fn look(&self, store: &Store) -> Result<Arc<KeyTable>> {
        // Before the look: what changes in its course may be missed by it.
        let at = Instant::now();
        let changes = store.counter_get(Counter::KeyChanges).await.map_err(Error::internal)?;
        let before = self.seen.read().unwrap_or_else(PoisonError::into_inner).clone();
        let seen =
            if changes == before.changes { Seen { at, ..before } } else { Seen::read(store, at).await? };
        let table = Arc::clone(&seen.table);
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(table)
    }
}

impl Seen {
    async fn read(store: &Store, at: Instant) -> Result<Self> {
        // The count first: a change between the two reads is then found again by the next look.
        let changes = store.counter_get(Counter::KeyChanges).await.map_err(Error::internal)?;
        let records = store.key_list().await.map_err(Error::internal)?;
        Ok(Self { table: Arc::new(KeyTable::of(records)), changes, at })
    }
}
