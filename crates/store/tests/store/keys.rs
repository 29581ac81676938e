//! Keys: what is kept of them, and that two processes see each other's.

use rusqlite::Connection;
use store::{Batch, Counter, KeyRecord, NewKey, OpenError, Store, StoreError};

use crate::fixture::{Fixture, at};

fn key(number: u8) -> NewKey {
    NewKey {
        hash: [number; 32],
        prefix: format!("ws_{number:06}"),
        name: (number > 1).then(|| format!("key {number}")),
        admin: number == 2,
        created_at: at(i64::from(number)),
    }
}

#[tokio::test]
async fn keys_are_listed_newest_first_and_survive_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.apply(Batch::new().key_insert(key(1)).key_insert(key(2))).await.unwrap();
    store.apply(Batch::new().key_revoke(1, at(9))).await.unwrap();
    store.apply(Batch::new().key_revoke(1, at(10))).await.unwrap();
    drop(store);
    let store = fixture.open();
    let first = KeyRecord { id: 1, key: key(1), revoked_at: Some(at(9)) };
    let second = KeyRecord { id: 2, key: key(2), revoked_at: None };
    assert_eq!(store.key_list().await.unwrap(), [second.clone(), first]);
    assert_eq!(store.key_find([2; 32]).await.unwrap(), Some(second));
    assert_eq!(store.key_find([3; 32]).await.unwrap(), None);
    assert_eq!(store.counter_get(Counter::KeyChanges).await.unwrap(), 4);
}

#[tokio::test]
async fn a_hash_is_stored_once_and_only_a_key_on_record_is_revoked() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.apply(Batch::new().key_insert(key(1))).await.unwrap();
    let again = store.apply(Batch::new().key_insert(key(1))).await.unwrap_err();
    assert!(matches!(again, StoreError::Exists { noun: "key", .. }), "{again}");
    assert!(!again.to_string().contains("0101"), "no hash in an error: {again}");
    for id in [2, u64::MAX] {
        let unknown = store.apply(Batch::new().key_revoke(id, at(1))).await.unwrap_err();
        assert!(matches!(unknown, StoreError::NotFound { noun: "key", .. }), "{unknown}");
    }
    assert_eq!(store.counter_get(Counter::KeyChanges).await.unwrap(), 1, "what failed is not counted");
}

#[tokio::test]
async fn a_store_beside_a_server_changes_what_the_server_sees() {
    let fixture = Fixture::new();
    let server = fixture.open();
    let beside = Store::open_beside(&fixture.path).unwrap();
    assert!(beside.is_beside() && !server.is_beside());
    beside.apply(Batch::new().key_insert(key(1))).await.unwrap();
    assert_eq!(server.key_list().await.unwrap().len(), 1);
    server.apply(Batch::new().key_revoke(1, at(5))).await.unwrap();
    assert_eq!(beside.key_list().await.unwrap()[0].revoked_at, Some(at(5)));
    drop(beside);
    server.apply(Batch::new().key_insert(key(2))).await.unwrap();
    drop(server);
    assert_eq!(fixture.hashes().into_keys().collect::<Vec<_>>(), ["atoll.db"]);
    assert_eq!(fixture.open().key_list().await.unwrap().len(), 2);
}

#[test]
fn without_a_server_the_store_is_made_and_held() {
    let fixture = Fixture::new();
    let alone = Store::open_beside(&fixture.path).unwrap();
    assert!(!alone.is_beside());
    assert!(matches!(Store::open(&fixture.path), Err(OpenError::InUse { .. })));
}

#[test]
fn a_server_waits_for_a_command_that_holds_the_store() {
    let fixture = Fixture::new();
    let alone = Store::open_beside(&fixture.path).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| Store::open(&fixture.path));
        // Whether it began to wait before this or not, it must come to open the store.
        drop(alone);
        assert!(server.join().unwrap().is_ok());
    });
}

#[test]
fn a_server_of_another_version_is_left_alone() {
    let fixture = Fixture::new();
    let server = fixture.open();
    let other = Connection::open(fixture.path.as_path()).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    let refusal = Store::open_beside(&fixture.path).unwrap_err();
    assert!(matches!(refusal, OpenError::OtherVersion { found: 99, known: 11, .. }), "{refusal}");
    drop((other, server));
}
