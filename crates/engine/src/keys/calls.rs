//! The engine's calls about keys.

use std::sync::Arc;

use super::{Key, KeySecret, KeyTable, key_create, key_list, key_revoke};
use crate::{Caller, Engine, Result};

impl Engine {
    /// Makes a key. The secret is to be shown once, and is nowhere else.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a bad name, [`ErrorKind::Busy`](crate::ErrorKind::Busy)
    /// when there are too many.
    pub async fn key_create(
        &self,
        caller: &Caller,
        name: Option<String>,
        admin: bool,
    ) -> Result<(Key, KeySecret)> {
        let made = key_create(&self.inner.store, name, admin, &caller.owner).await?;
        self.inner.keys.changed(&self.inner.store).await?;
        Ok(made)
    }

    /// Every key there ever was, the newest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn key_list(&self) -> Result<Vec<Key>> {
        key_list(&self.inner.store).await
    }

    /// Revokes a key, at once and for good.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub async fn key_revoke(&self, caller: &Caller, id: u64) -> Result<()> {
        key_revoke(&self.inner.store, id, &caller.owner).await?;
        self.inner.keys.changed(&self.inner.store).await
    }

    /// The keys of this moment, to recognise who asks. Cheap enough for every request.
    ///
    /// # Errors
    /// When the store can't be read. Nobody is to be let in then.
    pub async fn key_table(&self) -> Result<Arc<KeyTable>> {
        self.inner.keys.table(&self.inner.store).await
    }
}
