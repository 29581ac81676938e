//! What is written of a sandbox, and how its changes are told.

use std::time::Duration;

use jiff::Timestamp;
use store::{Batch, EndReason, Event, SandboxRecord, SnapshotRecord};

use super::{task::State, view_of};
use crate::{
    Error, Result,
    program::{LimitHit, ProgramResult},
};

impl State {
    /// Stores the record, with an event if there is something to tell, then shows it.
    pub(super) async fn record_write(&mut self, kind: Option<&'static str>, by: &str) -> Result<()> {
        let record = &self.task.record;
        if !record.ephemeral {
            let batch = Batch::new().sandbox_update(record.clone());
            let batch = match kind {
                Some(kind) => batch.event_append(event(record, kind, by)),
                None => batch,
            };
            self.task.engine.store.apply(batch).await.map_err(Error::internal)?;
        }
        self.view_update();
        Ok(())
    }

    /// Stores the record of a sandbox that is made: it is on the disk before anybody is told of it.
    pub(super) async fn record_settle(&mut self) -> Result<()> {
        let batch = Batch::new().sandbox_update(self.task.record.clone()).durable();
        self.task.engine.store.apply(batch).await.map_err(Error::internal)?;
        self.view_update();
        Ok(())
    }

    /// Shows the record as it is.
    pub(super) fn view_update(&self) {
        self.view.send_replace(view_of(&self.task.record));
    }
}

/// Something that happened to a sandbox, for the trail.
pub(crate) fn event(record: &SandboxRecord, kind: &'static str, by: &str) -> Event {
    Event {
        at: Timestamp::now(),
        sandbox: Some(record.id),
        kind: format!("sandbox.{kind}"),
        actor: by.to_owned(),
        detail: serde_json::to_value(&record.end).unwrap_or_default(),
    }
}

/// That a snapshot was taken.
pub(crate) fn snapshot_taken(record: &SandboxRecord, snapshot: &SnapshotRecord, by: &str) -> Event {
    let detail = serde_json::json!({ "snapshot": snapshot.id, "name": snapshot.name });
    Event { detail, ..event(record, "snapshot_taken", by) }
}

/// That a snapshot was deleted. Its sandbox may be gone.
pub(crate) fn snapshot_deleted(snapshot: &SnapshotRecord, by: &str) -> Event {
    Event {
        at: Timestamp::now(),
        sandbox: Some(snapshot.sandbox),
        kind: "sandbox.snapshot_deleted".to_owned(),
        actor: by.to_owned(),
        detail: serde_json::json!({ "snapshot": snapshot.id, "name": snapshot.name }),
    }
}

/// Why a sandbox ended whose program gave this result.
pub(super) fn end_reason(result: &ProgramResult, record: &SandboxRecord) -> EndReason {
    use protocol::agent::ExitStatus;
    let hit = |limit| result.limits_hit.contains(&limit);
    match result.status {
        _ if hit(LimitHit::Timeout) => {
            let timeout = view_of(record).program.map_or(Duration::ZERO, |program| program.timeout);
            EndReason::TimedOut { limit_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
        }
        Some(ExitStatus::Exited(0)) | None => EndReason::Exited { code: 0 },
        _ if hit(LimitHit::Memory) => EndReason::OutOfMemory { limit_bytes: record.limits.memory_bytes },
        Some(ExitStatus::Exited(code)) => EndReason::Exited { code },
        Some(ExitStatus::Signaled(signal)) => EndReason::Signaled { signal },
    }
}
