//! Volumes, and who has them.

use protocol::{GuestPath, SandboxId, VolumeId, volume::RelativePath};
use store::{Batch, SandboxRecord, SandboxVolume, SandboxVolumeSource, StoreError, VolumeRecord};

use crate::fixture::{Fixture, at, record};

fn volume(owner: &str, name: &str) -> VolumeRecord {
    VolumeRecord {
        id: VolumeId::random(),
        owner: owner.to_owned(),
        name: name.to_owned(),
        bytes: 1 << 40,
        created_at: at(1_700_000_000_123_456),
    }
}

fn of(id: VolumeId, ends_with_it: bool) -> SandboxVolume {
    SandboxVolume {
        source: SandboxVolumeSource::Named { id, ends_with_it },
        sub_path: RelativePath::new("a/b").unwrap(),
        target: GuestPath::absolute("/data").unwrap(),
        read_only: true,
    }
}

fn sandbox(volumes: Vec<SandboxVolume>) -> SandboxRecord {
    SandboxRecord { id: SandboxId::random(), volumes, ..record() }
}

#[tokio::test]
async fn volumes_come_back_after_a_restart_each_owners_by_name() {
    let fixture = Fixture::new();
    let all = [volume("key:1", "b"), volume("key:1", "a"), volume("key:2", "a"), volume("", "A")];
    let store = fixture.open();
    for record in &all {
        store.apply(Batch::new().volume_insert(record.clone(), 4).durable()).await.unwrap();
    }
    drop(store);
    let store = fixture.open();
    let [b, a, other, capital] = all;
    let everybodys = [capital.clone(), a.clone(), other.clone(), b.clone()];
    assert_eq!(store.volume_list(None).await.unwrap(), everybodys);
    assert_eq!(store.volume_list(Some("key:1".to_owned())).await.unwrap(), [a.clone(), b]);
    assert_eq!(store.volume_list(Some(String::new())).await.unwrap(), [capital]);
    let found = |owner: &str, name: &str| store.volume_by_name(owner.to_owned(), name.to_owned());
    assert_eq!(found("key:1", "a").await.unwrap(), a);
    assert_eq!(found("key:2", "a").await.unwrap(), other);
    assert_eq!(store.volume_get(a.id).await.unwrap(), a);
    for (owner, name) in [("key:2", "b"), ("", "a"), ("key:1", "A")] {
        let missing = found(owner, name).await;
        assert!(matches!(missing, Err(StoreError::NotFound { noun: "volume", .. })), "{missing:?}");
    }
}

#[tokio::test]
async fn a_name_is_an_owners_once_and_volumes_are_counted() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let insert = |record: VolumeRecord, most| store.apply(Batch::new().volume_insert(record, most));
    insert(volume("key:1", "a"), 2).await.unwrap();
    let again = insert(volume("key:1", "a"), 2).await;
    assert!(matches!(again, Err(StoreError::Exists { noun: "volume", ref id }) if id == "a"), "{again:?}");
    insert(volume("key:2", "a"), 2).await.unwrap();
    let full = insert(volume("key:3", "a"), 2).await;
    assert!(matches!(full, Err(StoreError::Full { noun: "volume", most: 2 })), "{full:?}");
}

#[tokio::test]
async fn a_volume_stays_as_long_as_a_sandbox_has_it() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (used, unused) = (volume("", "used"), volume("", "unused"));
    let sandboxes = [true, false].map(|ends| sandbox(vec![of(used.id, ends)]));
    let batch = Batch::new().volume_insert(used.clone(), 9).volume_insert(unused.clone(), 9);
    let batch = sandboxes.iter().fold(batch, |batch, record| batch.sandbox_insert(record.clone(), None));
    store.apply(batch).await.unwrap();
    for record in &sandboxes {
        assert_eq!(&store.sandbox_get(record.id).await.unwrap(), record);
    }
    let end = |batch: Batch| batch.volume_delete_unused(used.id).volume_delete_unused(unused.id);
    store.apply(end(Batch::new())).await.unwrap();
    assert_eq!(store.volume_list(None).await.unwrap(), std::slice::from_ref(&used));
    store.apply(end(Batch::new().sandbox_delete(sandboxes[0].id))).await.unwrap();
    assert_eq!(store.volume_list(None).await.unwrap(), std::slice::from_ref(&used));
    store.apply(end(Batch::new().sandbox_delete(sandboxes[1].id))).await.unwrap();
    assert_eq!(store.volume_list(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_sandbox_with_a_volume_that_is_not_there_is_refused() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (there, gone) = (volume("", "there"), volume("", "gone"));
    store.apply(Batch::new().volume_insert(there.clone(), 9).volume_insert(gone.clone(), 9)).await.unwrap();
    store.apply(Batch::new().volume_forget(gone.id)).await.unwrap();
    let refused = sandbox(vec![of(there.id, false), of(gone.id, false)]);
    let id = refused.id;
    let insert = store.apply(Batch::new().sandbox_insert(refused, None)).await;
    let text = gone.id.to_string();
    assert!(
        matches!(insert, Err(StoreError::NotFound { noun: "volume", ref id }) if *id == text),
        "{insert:?}"
    );
    assert!(store.sandbox_get(id).await.is_err(), "nothing of it is on record");
    let host = SandboxVolumeSource::Host { path: "/srv/data".to_owned() };
    let host = sandbox(vec![SandboxVolume { source: host, ..of(gone.id, false) }]);
    store.apply(Batch::new().sandbox_insert(host.clone(), None)).await.unwrap();
    assert_eq!(store.sandbox_get(host.id).await.unwrap(), host);
}
