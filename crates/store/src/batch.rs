//! A batch of changes: the only way to write. The changes themselves are added in the file of each record.

use std::fmt;

use rusqlite::Connection;

use crate::{StoreError, error::Fault};

/// Changes that are stored together or not at all, in the order in which they were added.
///
/// Put what belongs together into one batch (a record's new state, the event that says so, the counter): it is
/// one atomic step and one round trip.
#[derive(Default)]
#[must_use = "a batch changes nothing until it is given to `Store::apply`"]
pub struct Batch {
    changes: Vec<Change>,
    durable: bool,
}

struct Change {
    operation: &'static str,
    execute: Execute,
}

type Execute = Box<dyn FnOnce(&Connection) -> Result<(), Fault> + Send>;

impl Batch {
    /// A batch without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has it on the disk before it is acknowledged: it survives a power cut, too.
    pub fn durable(self) -> Self {
        Self { durable: true, ..self }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    pub(crate) fn with(
        mut self,
        operation: &'static str,
        execute: impl FnOnce(&Connection) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        self.changes.push(Change { operation, execute: Box::new(execute) });
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Executes the changes up to the first that fails. The caller owns the transaction.
    pub(crate) fn execute(self, connection: &Connection) -> Result<(), StoreError> {
        for Change { operation, execute } in self.changes {
            execute(connection).map_err(|fault| fault.at(operation))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.changes.iter().map(|change| change.operation)).finish()
    }
}
