//! The audit trail: who did what to which sandbox, and what happened to it by itself.

use jiff::Timestamp;
use protocol::SandboxId;
use rusqlite::{Connection, Row};
use serde_json::Value;

use crate::{
    Batch, Store, StoreError,
    column::{Document, Id, Json, Micros},
    error::Fault,
};

/// How many events are kept; older ones are removed.
const EVENTS_KEPT: i64 = 100_000;
/// How many may come on top before the oldest are removed, so that not every event costs a deletion.
const PRUNE_EVERY: i64 = 256;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To which sandbox; `None` if to none. The sandbox need not be in the store (any more).
    pub sandbox: Option<SandboxId>,
    /// What, as `noun.verb`: `sandbox.created` …
    pub kind: String,
    /// Who did it: the owner's name, `""` for nobody in particular.
    pub actor: String,
    /// What else there is to say, as JSON nested at most 100 levels deep.
    pub detail: Value,
}

/// An event in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct EventEntry {
    /// Its place in the trail: later events have higher numbers, and none is used twice.
    pub seq: u64,
    /// The event.
    pub event: Event,
}

impl Batch {
    /// Appends an event.
    pub fn event_append(self, event: Event) -> Self {
        self.with("event_append", move |connection| append(connection, &event))
    }
}

impl Store {
    /// The newest events first, at most `limit`: of all or of one sandbox, and only those before `before`
    /// (a [`EventEntry::seq`]) if that is given, which pages backwards.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn event_list(
        &self,
        limit: u32,
        before: Option<u64>,
        sandbox: Option<SandboxId>,
    ) -> Result<Vec<EventEntry>, StoreError> {
        self.query("event_list", move |connection| list(connection, limit, before, sandbox)).await
    }
}

fn append(connection: &Connection, event: &Event) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO events (at, sandbox_id, kind, actor, detail) VALUES (?1, ?2, ?3, ?4, ?5)";
    let seq = connection.prepare_cached(SQL)?.insert((
        Micros(event.at),
        event.sandbox.map(Id),
        &event.kind,
        &event.actor,
        Document(&event.detail),
    ))?;
    if seq % PRUNE_EVERY == 0 {
        connection.prepare_cached("DELETE FROM events WHERE seq <= ?1")?.execute([seq - EVENTS_KEPT])?;
    }
    Ok(())
}

fn list(
    connection: &Connection,
    limit: u32,
    before: Option<u64>,
    sandbox: Option<SandboxId>,
) -> Result<Vec<EventEntry>, Fault> {
    let whose = if sandbox.is_some() { "sandbox_id = ?3 AND" } else { "?3 IS NULL AND" };
    let sql = format!("SELECT * FROM events WHERE {whose} seq < ?1 ORDER BY seq DESC LIMIT ?2");
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((before, limit, sandbox.map(Id)), decode)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn decode(row: &Row<'_>) -> rusqlite::Result<EventEntry> {
    Ok(EventEntry {
        seq: row.get("seq")?,
        event: Event {
            at: row.get::<_, Micros>("at")?.0,
            sandbox: row.get::<_, Option<Id<_>>>("sandbox_id")?.map(|id| id.0),
            kind: row.get("kind")?,
            actor: row.get("actor")?,
            detail: row.get::<_, Json<_>>("detail")?.0,
        },
    })
}
