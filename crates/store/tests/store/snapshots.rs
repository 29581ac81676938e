//! Snapshots, what is pending, and facts.

use jiff::Timestamp;
use protocol::{ExecId, SandboxId, SnapshotId};
use store::{Batch, Fact, Pending, SnapshotRecord, StoreError};

use crate::fixture::{Fixture, record};

fn snapshot(sandbox: SandboxId, owner: &str, name: Option<&str>) -> SnapshotRecord {
    SnapshotRecord {
        id: SnapshotId::random(),
        seq: 0,
        sandbox,
        owner: owner.to_owned(),
        name: name.map(str::to_owned),
        note: name.map(|name| format!("after {name}")),
        image: "host".to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        outlives: name.is_some(),
    }
}

#[tokio::test]
async fn snapshots_come_back_in_the_order_in_which_they_were_taken() {
    let fixture = Fixture::new();
    let (one, two) = (SandboxId::random(), SandboxId::random());
    let taken = [snapshot(one, "a", Some("z")), snapshot(two, "b", Some("z")), snapshot(one, "a", Some("a"))];
    let store = fixture.open();
    for record in &taken {
        store.apply(Batch::new().snapshot_insert(record.clone()).durable()).await.unwrap();
    }
    drop(store);
    let store = fixture.open();
    let ids = |records: Vec<SnapshotRecord>| records.iter().map(|record| record.id).collect::<Vec<_>>();
    let listed = store.snapshot_list(one).await.unwrap();
    assert_eq!(SnapshotRecord { seq: 0, ..listed[0].clone() }, taken[0]);
    assert!(listed[0].seq < listed[1].seq);
    assert_eq!(ids(listed), [taken[0].id, taken[2].id]);
    assert_eq!(ids(store.snapshot_list_all(None).await.unwrap()), taken.each_ref().map(|it| it.id));
    assert_eq!(ids(store.snapshot_list_all(Some("b".to_owned())).await.unwrap()), [taken[1].id]);
    store.apply(Batch::new().snapshot_delete(taken[0].id).snapshot_delete(taken[0].id)).await.unwrap();
    assert_eq!(ids(store.snapshot_list(one).await.unwrap()), [taken[2].id]);
}

#[tokio::test]
async fn a_name_is_taken_once_in_each_sandbox() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (one, two) = (SandboxId::random(), SandboxId::random());
    store.apply(Batch::new().snapshot_insert(snapshot(one, "", Some("initial")))).await.unwrap();
    store.apply(Batch::new().snapshot_insert(snapshot(two, "", Some("initial")))).await.unwrap();
    let again = store.apply(Batch::new().snapshot_insert(snapshot(one, "", Some("initial")))).await;
    assert!(
        matches!(again, Err(StoreError::Exists { noun: "snapshot", ref id }) if id == "initial"),
        "{again:?}"
    );
    for _ in 0..2 {
        store.apply(Batch::new().snapshot_insert(snapshot(one, "", None))).await.unwrap();
    }
    assert_eq!(store.snapshot_list(one).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_pending_is_kept_until_it_is_done() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let mut record = record();
    store.apply(Batch::new().sandbox_insert(record.clone(), None)).await.unwrap();
    for pending in [
        Pending::Fork { origin: SnapshotId::random() },
        Pending::Restore { snapshot: SnapshotId::random(), dropped: vec![SnapshotId::random()] },
        Pending::Command {
            exec: ExecId::random(),
            snapshot: SnapshotId::random(),
            prefix: "cmd_".to_owned(),
            note: "make".to_owned(),
        },
    ] {
        record.pending = Some(pending);
        store.apply(Batch::new().sandbox_update(record.clone())).await.unwrap();
        assert_eq!(store.sandbox_get(record.id).await.unwrap(), record);
    }
    record.pending = None;
    store.apply(Batch::new().sandbox_update(record.clone())).await.unwrap();
    assert_eq!(store.sandbox_get(record.id).await.unwrap(), record);
}

#[tokio::test]
async fn facts_are_replaced() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert_eq!(store.fact_get(Fact::Boot).await.unwrap(), None);
    for boot in ["first", "second"] {
        store.apply(Batch::new().fact_put(Fact::Boot, boot.to_owned())).await.unwrap();
        assert_eq!(store.fact_get(Fact::Boot).await.unwrap().as_deref(), Some(boot));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_intended_is_listed_once_it_is_settled() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let one = SandboxId::random();
    let (first, second) = (snapshot(one, "", Some("first")), snapshot(one, "", Some("second")));
    store.apply(Batch::new().snapshot_intend(first.clone(), 2)).await.unwrap();
    assert_eq!(store.snapshot_list(one).await.unwrap(), []);
    assert_eq!(store.snapshot_list_all(None).await.unwrap(), []);
    let again = store.apply(Batch::new().snapshot_intend(snapshot(one, "", Some("first")), 2)).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    store.apply(Batch::new().snapshot_intend(second.clone(), 2)).await.unwrap();
    let third = store.apply(Batch::new().snapshot_intend(snapshot(one, "", Some("third")), 2)).await;
    assert!(matches!(third, Err(StoreError::Full { noun: "snapshot", most: 2 })), "{third:?}");
    // Handed over and not waited for: the list has it.
    drop(store.submit(Batch::new().snapshot_settle(second.id)));
    let listed = store.snapshot_list(one).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.id).collect::<Vec<_>>(), [second.id]);
    drop(store);
    let intents = fixture.open().snapshot_intents().await.unwrap();
    assert_eq!(intents.iter().map(|record| record.id).collect::<Vec<_>>(), [first.id]);
}
