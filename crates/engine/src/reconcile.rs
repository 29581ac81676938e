//! Bringing records and what is on the host to agree, when the engine starts.

use std::collections::HashSet;

use jiff::Timestamp;
use protocol::{SandboxId, launcher::Found};
use store::{Batch, EndReason, Page, SandboxFilter, SandboxRecord, SandboxState, Store};

use crate::{Error, Result, Runtime, Settings, sandbox::event, sandbox::later};

/// Ends what an earlier server left running, removes what no record knows of, and returns the records.
pub(crate) async fn reconcile(
    store: &Store,
    runtime: &dyn Runtime,
    settings: &Settings,
) -> Result<Vec<SandboxRecord>> {
    let page = store.sandbox_list(SandboxFilter::default(), Page::ALL).await.map_err(Error::internal)?;
    let found = runtime.inventory().await.map_err(Error::internal)?;
    let known: HashSet<SandboxId> = page.records.iter().map(|record| record.id).collect();
    for Found { sandbox, runs, .. } in found {
        if !known.contains(&sandbox) {
            tracing::info!(%sandbox, "removing what is left of a sandbox that is not on record");
            runtime.remove(sandbox).await.map_err(Error::internal)?;
        } else if runs {
            runtime.kill(sandbox).await.map_err(Error::internal)?;
        }
    }
    let mut records = Vec::with_capacity(page.records.len());
    let mut batch = Batch::new();
    for mut record in page.records {
        if record.ephemeral {
            runtime.remove(record.id).await.map_err(Error::internal)?;
            batch = batch.sandbox_delete(record.id);
            continue;
        }
        if was_alive(record.state) {
            record.state = SandboxState::Terminated;
            record.ended_at = Some(Timestamp::now());
            record.end = Some(EndReason::Lost { detail: "the server was restarted".to_owned() });
            record.lease_until =
                record.lease_until.max(Some(later(Timestamp::now(), settings.ended_retention)));
            batch = batch.sandbox_update(record.clone()).event_append(event(&record, "ended", "restart"));
            tracing::info!(sandbox = %record.id, "the sandbox ended with the server that ran it");
        }
        records.push(record);
    }
    store.apply(batch).await.map_err(Error::internal)?;
    Ok(records)
}

fn was_alive(state: SandboxState) -> bool {
    use SandboxState::{Paused, Pausing, Resuming, Running, Stopping};
    matches!(state, Running | Pausing | Paused | Resuming | Stopping)
}
