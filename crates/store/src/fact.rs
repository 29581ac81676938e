//! What is to be remembered from one start to the next.

use rusqlite::OptionalExtension;

use crate::{Batch, Store, StoreError};

/// Something remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The boot of the host that the last server ran in, as the kernel names it.
    Boot,
    /// What tokens of sandboxes are made with.
    TokenSecret,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::TokenSecret => "token_secret",
        }
    }
}

impl Batch {
    /// Sets or replaces what is remembered.
    pub fn fact_put(self, fact: Fact, value: String) -> Self {
        self.with("fact_put", move |connection| {
            const SQL: &str = "INSERT INTO facts (name, value) VALUES (?1, ?2)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            connection.prepare_cached(SQL)?.execute((fact.name(), value))?;
            Ok(())
        })
    }
}

impl Store {
    /// What is remembered; `None` if nothing is.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn fact_get(&self, fact: Fact) -> Result<Option<String>, StoreError> {
        self.query("fact_get", move |connection| {
            let sql = "SELECT value FROM facts WHERE name = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([fact.name()], |row| row.get(0)).optional()?)
        })
        .await
    }
}
