//! Keys of the API: made, listed, revoked, and recognised. Whoever has the store can do the first three; the
//! command line does so beside a server that runs.
//!
//! It must not know in which header a key comes, nor what is refused without one.

mod calls;
mod known;
mod secret;
mod table;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use store::{Batch, Event, KeyRecord, NewKey, Store, StoreError};

pub(crate) use self::known::KnownKeys;
pub use self::{secret::KeySecret, table::KeyTable};
use crate::{Caller, Error, ErrorKind, Result};

/// A server that runs has taken note of a change that another process made after this time.
pub const NOTICED_WITHIN: Duration = Duration::from_millis(250);
/// Keys that count at once: all are held in memory, and on a loopback listener anybody may make the first ones.
const KEYS_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 100;

/// A key as people see it: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its number, never used twice.
    pub id: u64,
    /// Its first characters: `ws_a1b2c3`.
    pub prefix: String,
    /// What people call it.
    pub name: Option<String>,
    /// Sees and changes everything.
    pub admin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked; `None` for one that counts.
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    fn of(record: KeyRecord) -> Self {
        let KeyRecord { id, key: NewKey { prefix, name, admin, created_at, .. }, revoked_at } = record;
        Self { id, prefix, name, admin, created_at, revoked_at }
    }

    /// Who asks with this key.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { owner: format!("key:{}", self.id), administrator: self.admin }
    }
}

/// Makes a key. The secret is nowhere else: who loses it needs another key. `by` is for the trail.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name that is too long or has control characters, [`ErrorKind::Busy`] when
/// there are too many keys.
pub async fn key_create(
    store: &Store,
    name: Option<String>,
    admin: bool,
    by: &str,
) -> Result<(Key, KeySecret)> {
    let name = name.filter(|name| !name.is_empty());
    name_check(name.as_deref())?;
    let counting = store.key_list().await.map_err(Error::internal)?;
    if counting.iter().filter(|key| key.revoked_at.is_none()).count() >= KEYS_MAX {
        let text = format!("Too many keys (at most {KEYS_MAX}); revoke some");
        return Err(Error::new(ErrorKind::Busy { retry_after_s: 60 }, text));
    }
    let secret = KeySecret::random()?;
    let (hash, created_at) = (secret.hash(), Timestamp::now());
    let key = NewKey { hash, prefix: secret.prefix().to_owned(), name, admin, created_at };
    let event = event("created", by, json!({ "key": key.prefix, "name": key.name, "admin": admin }));
    store.apply(Batch::new().key_insert(key).event_append(event)).await.map_err(Error::internal)?;
    let stored = store.key_find(hash).await.map_err(Error::internal)?;
    let record = stored.ok_or_else(|| Error::internal("a key that was just stored is not there"))?;
    Ok((Key::of(record), secret))
}

/// Every key there ever was, the newest first.
///
/// # Errors
/// When the store can't be read.
pub async fn key_list(store: &Store) -> Result<Vec<Key>> {
    let records = store.key_list().await.map_err(Error::internal)?;
    Ok(records.into_iter().map(Key::of).collect())
}

/// Revokes a key, for good. What it made stays, and is its administrator's to remove. No error if it was
/// revoked before.
///
/// # Errors
/// [`ErrorKind::NotFound`].
pub async fn key_revoke(store: &Store, id: u64, by: &str) -> Result<()> {
    let event = event("revoked", by, json!({ "id": id }));
    let batch = Batch::new().key_revoke(id, Timestamp::now()).event_append(event);
    store.apply(batch).await.map_err(|error| match error {
        StoreError::NotFound { .. } => Error::new(ErrorKind::NotFound, format!("Key {id} not found")),
        other => Error::internal(other),
    })
}

fn name_check(name: Option<&str>) -> Result<()> {
    match name {
        Some(name) if name.len() > NAME_BYTES_MAX => {
            Err(Error::invalid("name", format!("must be at most {NAME_BYTES_MAX} bytes long")))
        }
        Some(name) if name.chars().any(char::is_control) => {
            Err(Error::invalid("name", "must not have control characters"))
        }
        _ => Ok(()),
    }
}

fn event(kind: &str, by: &str, detail: serde_json::Value) -> Event {
    Event { at: Timestamp::now(), sandbox: None, kind: format!("key.{kind}"), actor: by.to_owned(), detail }
}

#[cfg(test)]
mod tests;
