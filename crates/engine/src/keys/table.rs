//! The keys at one moment, in memory, and the comparison of a text with them. It must not know where they are
//! stored.

use std::{collections::HashMap, sync::Arc};

use store::KeyRecord;
use subtle::ConstantTimeEq;

use super::{Key, KeySecret};

/// The keys at one moment.
#[derive(Debug, Default)]
pub struct KeyTable {
    /// Those that count, by the first bytes of their hashes.
    keys: HashMap<[u8; 8], Vec<(Hash, Arc<Key>)>>,
    ever: bool,
    admin_ever: bool,
}

type Hash = [u8; 32];

impl KeyTable {
    pub(super) fn of(records: Vec<KeyRecord>) -> Self {
        let admin_ever = records.iter().any(|record| record.key.admin);
        let mut table = Self { ever: !records.is_empty(), admin_ever, ..Self::default() };
        for record in records.into_iter().filter(|record| record.revoked_at.is_none()) {
            let hash = record.key.hash;
            table.keys.entry(bucket_of(&hash)).or_default().push((hash, Arc::new(Key::of(record))));
        }
        table
    }

    /// The key whose text this is; `None` if it is no key, or a revoked one.
    ///
    /// Compares hashes, in constant time. That a bucket is empty shows in the time it takes, and tells whoever
    /// measures it no more than eight bytes of a hash of what they sent themselves.
    #[must_use]
    pub fn authenticate(&self, text: &str) -> Option<Arc<Key>> {
        let hash = KeySecret::parse(text)?.hash();
        let bucket = self.keys.get(&bucket_of(&hash))?;
        bucket.iter().find(|(known, _)| known.ct_eq(&hash).into()).map(|(_, key)| Arc::clone(key))
    }

    /// Whether there ever was a key. Revoking the last one must not open the server to all.
    #[must_use]
    pub fn has_ever_had_a_key(&self) -> bool {
        self.ever
    }

    /// Whether there is a key that counts.
    #[must_use]
    pub fn has_a_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether there ever was an administrator's key.
    #[must_use]
    pub fn has_ever_had_an_admin_key(&self) -> bool {
        self.admin_ever
    }
}

fn bucket_of(hash: &Hash) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    [a, b, c, d, e, f, g, h]
}
