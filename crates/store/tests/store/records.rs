//! What is stored comes back as it was.

use std::collections::BTreeMap;

use protocol::{SandboxId, launcher::NetworkMode};
use store::{Batch, EndReason, OnAccess, Page, SandboxFilter, SandboxRecord, SandboxState, StoreError};

use protocol::policy::{Action, NetworkPolicy, Rule};

use crate::fixture::{Fixture, at, record};

const STRANGE: &str =
    "naïve \u{1F3DD}\u{FE0F} \"quoted\" 'single' \\ \0 \n \u{202E} ; DROP TABLE sandboxes; -- 日本語";

fn full_record() -> SandboxRecord {
    SandboxRecord {
        number: Some(7),
        ordinal: Some(u32::MAX),
        owner: STRANGE.to_owned(),
        dialect: STRANGE.to_owned(),
        name: Some(STRANGE.to_owned()),
        state: SandboxState::Failed,
        created_at: at(-1),
        started_at: Some(at(0)),
        ended_at: Some("9999-12-30T22:00:00.999999Z".parse().unwrap()),
        lease_until: Some(at(1_700_000_000_123_456)),
        end: Some(EndReason::LaunchFailed { step: STRANGE.to_owned(), errno: 2 }),
        image: STRANGE.to_owned(),
        network: NetworkMode::Nat,
        env: vec![("Z".to_owned(), STRANGE.to_owned()), ("A".to_owned(), String::new())],
        metadata: BTreeMap::from([(STRANGE.to_owned(), STRANGE.to_owned())]),
        program: Some(serde_json::json!({ "language": "node" })),
        ephemeral: true,
        last_result: Some(serde_json::json!({ "stdout": STRANGE, "n": [1.5, null, u64::MAX] })),
        entrypoint: Some(vec![STRANGE.to_owned(), String::new()]),
        details: Some(serde_json::json!({ "image": STRANGE })),
        on_access: OnAccess { renew_s: Some(1), pause_idle_s: Some(u32::MAX) },
        network_policy: Some(policy()),
        ..record()
    }
}

fn policy() -> NetworkPolicy {
    let rule = |action, target: &str| Rule { action, target: target.parse().unwrap() };
    let rules = vec![rule(Action::Allow, "*.example.com"), rule(Action::Deny, "192.0.2.0/24")];
    NetworkPolicy::new(Action::Deny, rules).unwrap()
}

#[tokio::test]
async fn records_come_back_after_a_restart() {
    let fixture = Fixture::new();
    let (empty, full) = (record(), full_record());
    let store = fixture.open();
    let batch = Batch::new().sandbox_insert(empty.clone(), None).sandbox_insert(full.clone(), None);
    store.apply(batch).await.unwrap();
    assert_eq!(store.sandbox_get(full.id).await.unwrap(), full);
    drop(store);
    let store = fixture.open();
    assert_eq!(store.sandbox_get(empty.id).await.unwrap(), empty);
    assert_eq!(store.sandbox_get(full.id).await.unwrap(), full);
}

#[tokio::test]
async fn an_update_replaces_the_whole_record() {
    let store = Fixture::new().open();
    let mut updated = full_record();
    let first = SandboxRecord { id: updated.id, ..record() };
    store.apply(Batch::new().sandbox_insert(first, None)).await.unwrap();
    for state in [
        SandboxState::Pending,
        SandboxState::Running,
        SandboxState::Pausing,
        SandboxState::Paused,
        SandboxState::Resuming,
        SandboxState::Stopping,
        SandboxState::Terminated,
        SandboxState::Failed,
    ] {
        updated.state = state;
        store.apply(Batch::new().sandbox_update(updated.clone())).await.unwrap();
        assert_eq!(store.sandbox_get(updated.id).await.unwrap(), updated);
    }
}

#[tokio::test]
async fn lists_are_filtered_paged_and_newest_first() {
    let store = Fixture::new().open();
    let mut ids = Vec::new();
    for number in 0..12 {
        let owner = ["alice", "bob"][number % 2].to_owned();
        let dialect = ["vms", "sessions", "execd"][number % 3].to_owned();
        let state = [SandboxState::Running, SandboxState::Paused, SandboxState::Failed][number / 4];
        let record = SandboxRecord { owner, dialect, state, ..record() };
        ids.push(record.id);
        store.apply(Batch::new().sandbox_insert(record, None)).await.unwrap();
    }
    let list = async |filter: SandboxFilter, page: Page| {
        let page = store.sandbox_list(filter, page).await.unwrap();
        let number = |record: &SandboxRecord| ids.iter().position(|id| *id == record.id).unwrap();
        (page.records.iter().map(number).collect::<Vec<_>>(), page.total)
    };
    let all = SandboxFilter::default();
    let alice = SandboxFilter { owner: Some("alice".to_owned()), ..all.clone() };
    let vms = SandboxFilter { dialect: Some("vms".to_owned()), ..all.clone() };
    let live = SandboxFilter { states: vec![SandboxState::Paused, SandboxState::Running], ..all.clone() };
    let narrow = SandboxFilter { owner: alice.owner.clone(), dialect: vms.dialect.clone(), ..live.clone() };
    let nobody = SandboxFilter { owner: Some(String::new()), ..all.clone() };
    assert_eq!(list(all.clone(), Page::ALL).await, ((0..12).rev().collect(), 12));
    assert_eq!(list(alice.clone(), Page::ALL).await, (vec![10, 8, 6, 4, 2, 0], 6));
    assert_eq!(list(vms, Page::ALL).await, (vec![9, 6, 3, 0], 4));
    assert_eq!(list(live, Page::ALL).await, (vec![7, 6, 5, 4, 3, 2, 1, 0], 8));
    assert_eq!(list(narrow, Page::ALL).await, (vec![6, 0], 2));
    assert_eq!(list(nobody, Page::ALL).await, (vec![], 0));
    assert_eq!(list(alice, Page { offset: 1, limit: 2 }).await, (vec![8, 6], 6));
    assert_eq!(list(all.clone(), Page { offset: 11, limit: 5 }).await, (vec![0], 12));
    assert_eq!(list(all, Page { offset: 12, limit: 5 }).await, (vec![], 12));
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let store = Fixture::new().open();
    let absent = record();
    let id = absent.id;
    let missing = |result: Result<(), StoreError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
        assert_eq!(error.to_string(), format!("sandbox {id} is not in the store"));
    };
    missing(store.sandbox_get(id).await.map(|_| ()));
    missing(store.apply(Batch::new().sandbox_update(absent)).await);
    missing(store.apply(Batch::new().sandbox_delete(id)).await);
    missing(store.apply(Batch::new().program_put(id, vec![1])).await);
    assert_eq!(store.program_get(id).await.unwrap(), None);
}

#[tokio::test]
async fn an_identifier_is_taken_once() {
    let store = Fixture::new().open();
    let first = record();
    let second = SandboxRecord { owner: "mallory".to_owned(), ..first.clone() };
    store.apply(Batch::new().sandbox_insert(first.clone(), None)).await.unwrap();
    let error = store.apply(Batch::new().sandbox_insert(second, Some(vec![1]))).await.unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    assert_eq!(store.sandbox_get(first.id).await.unwrap(), first);
    assert_eq!(store.program_get(first.id).await.unwrap(), None);
}

#[tokio::test]
async fn large_programs_come_back_and_go_with_their_sandbox() {
    let fixture = Fixture::new();
    let body: Vec<u8> = (0..32 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (one, two) = (record(), record());
    let store = fixture.open();
    let batch =
        Batch::new().sandbox_insert(one.clone(), Some(body.clone())).sandbox_insert(two.clone(), None);
    store.apply(batch).await.unwrap();
    drop(store);
    let store = fixture.open();
    assert!(store.program_get(one.id).await.unwrap().unwrap() == body);
    assert_eq!(store.program_get(two.id).await.unwrap(), None);
    store.apply(Batch::new().program_put(one.id, vec![]).program_put(two.id, vec![2])).await.unwrap();
    assert_eq!(store.program_get(one.id).await.unwrap(), Some(vec![]));
    store.apply(Batch::new().sandbox_delete(two.id)).await.unwrap();
    assert_eq!(store.program_get(two.id).await.unwrap(), None);
}

/// `serde_json` writes what it does not read back: such a row would spoil every list that it is in.
#[tokio::test]
async fn json_that_could_not_be_read_again_is_refused() {
    let store = Fixture::new().open();
    let nested = |levels| {
        let mut value = serde_json::json!(1);
        for level in 1..levels {
            value =
                if level % 2 == 0 { serde_json::json!([value]) } else { serde_json::json!({ "x": value }) };
        }
        SandboxRecord { id: SandboxId::random(), last_result: Some(value), ..record() }
    };
    for too_deep in [101, 200] {
        let error = store.apply(Batch::new().sandbox_insert(nested(too_deep), None)).await.unwrap_err();
        assert!(matches!(error, StoreError::Database { operation: "sandbox_insert", .. }), "{error}");
    }
    store.apply(Batch::new().sandbox_insert(nested(100), None)).await.unwrap();
    assert_eq!(store.sandbox_list(SandboxFilter::default(), Page::ALL).await.unwrap().total, 1);
}
