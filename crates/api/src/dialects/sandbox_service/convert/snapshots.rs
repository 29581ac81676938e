//! Snapshots and events, both ways.

use engine::{Event, EventQuery as Query, Snapshot, SnapshotName, SnapshotSpec};
use protocol::SandboxId;

use super::super::types::{EventBody, EventQuery, KeepRequest, KeptBody};
use crate::{reject::Rejection, timestamps::WireTimestamp};

/// What a name starts with that the client did not choose.
const PREFIX: &str = "snapshot_";
const NAME_BYTES_MAX: usize = 100;
const NOTE_BYTES_MAX: usize = 4096;
const EVENTS_DEFAULT: u32 = 100;
const EVENTS_MAX: u32 = 1000;

/// The snapshot that a request asks for.
pub(in super::super) fn snapshot_spec(request: KeepRequest) -> Result<SnapshotSpec, Rejection> {
    let name = match request.name {
        None => SnapshotName::Timed(PREFIX.to_owned()),
        Some(name) if is_name(&name) => SnapshotName::Given(name),
        Some(_) => {
            let problem = format!(
                "must be 1 to {NAME_BYTES_MAX} letters, digits, `.`, `_` or `-`, and no step of a path"
            );
            return Err(Rejection::field("name", problem));
        }
    };
    if request.note.as_ref().is_some_and(|note| note.len() > NOTE_BYTES_MAX) {
        return Err(Rejection::field("note", format!("is longer than {NOTE_BYTES_MAX} bytes")));
    }
    Ok(SnapshotSpec { note: request.note, ..SnapshotSpec::new(name) })
}

fn is_name(name: &str) -> bool {
    // Clients take `.` and `..` out of a path before they send it.
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A snapshot.
pub(in super::super) fn snapshot_body(snapshot: &Snapshot) -> KeptBody {
    KeptBody {
        id: snapshot.id.uuid(),
        sandbox_id: snapshot.sandbox,
        name: snapshot.name.clone(),
        note: snapshot.note.clone(),
        created_at: WireTimestamp(snapshot.created_at),
    }
}

/// Which events a query asks for.
pub(in super::super) fn event_query(query: &EventQuery) -> Result<Query, Rejection> {
    let limit = query.limit.unwrap_or(EVENTS_DEFAULT);
    if limit == 0 || limit > EVENTS_MAX {
        return Err(Rejection::field("limit", format!("must be from 1 to {EVENTS_MAX}, not {limit}")));
    }
    Ok(Query { limit, before: query.before, sandbox: query.sandbox.map(SandboxId::from) })
}

/// An event.
pub(in super::super) fn event_body(event: Event) -> EventBody {
    EventBody {
        seq: event.seq,
        timestamp: WireTimestamp(event.at),
        kind: event.kind,
        actor: event.actor,
        sandbox_id: event.sandbox.map(SandboxId::uuid),
        detail: event.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: Option<&str>) -> Result<SnapshotName, String> {
        let request = KeepRequest { name: name.map(str::to_owned), note: None };
        snapshot_spec(request).map(|spec| spec.name).map_err(|refused| refused.to_string())
    }

    #[test]
    fn names_are_taken_or_made() {
        assert_eq!(spec(None), Ok(SnapshotName::Timed("snapshot_".to_owned())));
        assert_eq!(spec(Some("v1.2_b-3")), Ok(SnapshotName::Given("v1.2_b-3".to_owned())));
        for name in ["", "a/b", "a b", "é", &"x".repeat(101)] {
            assert!(spec(Some(name)).unwrap_err().starts_with("name: "), "{name:?}");
        }
    }

    #[test]
    fn events_are_asked_for_in_bounds() {
        let ask = |limit| event_query(&EventQuery { limit, before: None, sandbox: None });
        assert_eq!(ask(None).unwrap().limit, 100);
        assert_eq!(ask(Some(1000)).unwrap().limit, 1000);
        assert!(ask(Some(0)).is_err() && ask(Some(1001)).is_err());
    }
}
