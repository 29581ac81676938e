//! The audit trail, as callers may see it.

use jiff::Timestamp;
use protocol::SandboxId;

use crate::{Caller, Engine, Error, Result};

/// Which events to return.
#[derive(Clone, Copy, Debug)]
pub struct EventQuery {
    /// How many at most.
    pub limit: u32,
    /// Only those before this [`Event::seq`].
    pub before: Option<u64>,
    /// Only those of this sandbox.
    pub sandbox: Option<SandboxId>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its place in the trail: later events have higher numbers.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, as `noun.verb`.
    pub kind: String,
    /// Who did it; empty for nobody in particular.
    pub actor: String,
    /// To which sandbox.
    pub sandbox: Option<SandboxId>,
    /// What else there is to say.
    pub detail: serde_json::Value,
}

impl Engine {
    /// The newest events first. An administrator sees all; others see those of a sandbox of theirs, which the query
    /// has to name, without what they tell of the host.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::Invalid`].
    pub async fn event_list(&self, caller: &Caller, query: EventQuery) -> Result<Vec<Event>> {
        if !caller.administrator {
            let Some(sandbox) = query.sandbox else {
                let text = "name one of your sandboxes; only an administrator's key sees all events";
                return Err(Error::invalid("sandbox", text));
            };
            self.sandbox_get(caller, sandbox).await?;
        }
        let listed = self.inner.store.event_list(query.limit, query.before, query.sandbox).await;
        let shown = listed.map_err(Error::internal)?.into_iter().map(|entry| Event {
            seq: entry.seq,
            at: entry.event.at,
            kind: entry.event.kind,
            actor: entry.event.actor,
            sandbox: entry.event.sandbox,
            detail: if caller.administrator { entry.event.detail } else { public(entry.event.detail) },
        });
        Ok(shown.collect())
    }
}

/// Without the step of a launch that failed: it has paths of the host.
fn public(mut detail: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = detail.as_object_mut() {
        fields.remove("step");
    }
    detail
}
