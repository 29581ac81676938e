//! The task's part in small changes that a client makes to a record: when it ends, and how it is labelled.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::task::State;
use crate::{Error, ErrorKind, Result};

impl State {
    /// Has its lease end at another time.
    pub(super) async fn lease_set(&mut self, until: Timestamp, by: &str) -> Result<()> {
        let before = self.task.record.lease_until;
        if before.is_none() {
            let text = "The sandbox has no time-out that could be renewed";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if !self.up && self.task.record.ended_at.is_some() {
            return Err(Error::new(ErrorKind::Conflict, "The sandbox has ended"));
        }
        if until <= Timestamp::now() {
            return Err(Error::invalid("lease", "must end in the future"));
        }
        self.task.record.lease_until = Some(until);
        let written = self.record_write(Some("renewed"), by).await;
        if written.is_err() {
            self.task.record.lease_until = before;
        }
        written
    }

    /// Changes words of its metadata; one that becomes none goes.
    pub(super) async fn metadata_patch(
        &mut self,
        patch: BTreeMap<String, Option<String>>,
        by: &str,
    ) -> Result<()> {
        if patch.is_empty() {
            return Ok(());
        }
        let before = self.task.record.metadata.clone();
        for (word, value) in patch {
            match value {
                Some(value) => drop(self.task.record.metadata.insert(word, value)),
                None => drop(self.task.record.metadata.remove(&word)),
            }
        }
        let written = self.record_write(Some("metadata_changed"), by).await;
        if written.is_err() {
            self.task.record.metadata = before;
        }
        written
    }
}
