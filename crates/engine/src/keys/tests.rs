//! Keys over a real store: recognised, revoked, and kept in step with another process.

use protocol::HostPath;
use store::Store;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, HostPath, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = HostPath::new(folder.path().join("atoll.db"));
    let store = Store::open(&path).unwrap();
    (folder, path, store)
}

async fn table(store: &Store) -> KeyTable {
    KeyTable::of(store.key_list().await.unwrap())
}

#[tokio::test]
async fn a_key_is_recognised_by_its_text_and_nothing_else_is() {
    let (_folder, _, store) = store();
    let (user, secret) = key_create(&store, Some("build".to_owned()), false, "").await.unwrap();
    let (admin, admin_secret) = key_create(&store, None, true, "").await.unwrap();
    let table = table(&store).await;
    assert_eq!(table.authenticate(secret.expose()).as_deref(), Some(&user));
    assert_eq!(table.authenticate(admin_secret.expose()).as_deref(), Some(&admin));
    assert_eq!(user.caller(), Caller { owner: "key:1".to_owned(), administrator: false });
    assert_eq!(admin.caller(), Caller { owner: "key:2".to_owned(), administrator: true });
    let (known, last) = secret.expose().split_at(50);
    let other = format!("{known}{}", if last == "0" { "1" } else { "0" });
    for wrong in [other.as_str(), &user.prefix, "", "ws_", &secret.expose().to_uppercase()] {
        assert_eq!(table.authenticate(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_none_and_the_last_one_leaves_the_door_closed() {
    let (_folder, _, store) = store();
    assert!(!table(&store).await.has_ever_had_a_key());
    let (key, secret) = key_create(&store, None, true, "").await.unwrap();
    assert!(table(&store).await.has_a_key());
    key_revoke(&store, key.id, "").await.unwrap();
    let table = table(&store).await;
    assert_eq!(table.authenticate(secret.expose()), None);
    assert!(table.has_ever_had_a_key() && table.has_ever_had_an_admin_key() && !table.has_a_key());
    assert_eq!(key_revoke(&store, 7, "").await.unwrap_err().kind(), ErrorKind::NotFound);
    let kinds = store.event_list(9, None, None).await.unwrap();
    assert_eq!(
        kinds.iter().map(|it| it.event.kind.as_str()).collect::<Vec<_>>(),
        ["key.revoked", "key.created"]
    );
}

#[tokio::test]
async fn neither_the_list_nor_the_trail_has_the_key() {
    let (_folder, _, store) = store();
    let (key, secret) = key_create(&store, Some(String::new()), false, "").await.unwrap();
    assert_eq!((key.name.as_deref(), key.prefix.as_str()), (None, &secret.expose()[..9]));
    let shown = format!(
        "{:?} {:?} {secret:?}",
        key_list(&store).await.unwrap(),
        store.event_list(9, None, None).await.unwrap()
    );
    assert!(shown.contains(&key.prefix) && !shown.contains(&secret.expose()[9..]), "{shown}");
}

#[tokio::test]
async fn names_that_would_spoil_a_list_are_refused() {
    let (_folder, _, store) = store();
    for bad in ["a\nb", "\u{1b}[2J", &"x".repeat(NAME_BYTES_MAX + 1)] {
        let error = key_create(&store, Some(bad.to_owned()), false, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid { field: "name" }, "{bad}");
    }
    assert_eq!(key_list(&store).await.unwrap(), []);
}

#[tokio::test]
async fn what_another_process_does_is_noticed_in_time() {
    let (_folder, path, store) = store();
    let known = KnownKeys::read(&store).await.unwrap();
    let beside = Store::open_beside(&path).unwrap();
    let (key, secret) = key_create(&beside, None, false, "operator").await.unwrap();
    tokio::time::sleep(NOTICED_WITHIN).await;
    assert!(known.table(&store).await.unwrap().authenticate(secret.expose()).is_some());
    key_revoke(&beside, key.id, "operator").await.unwrap();
    tokio::time::sleep(NOTICED_WITHIN).await;
    assert_eq!(known.table(&store).await.unwrap().authenticate(secret.expose()), None);
}

#[tokio::test]
async fn what_this_process_does_is_noticed_at_once() {
    let (_folder, _, store) = store();
    let known = KnownKeys::read(&store).await.unwrap();
    let (_, secret) = key_create(&store, None, false, "").await.unwrap();
    known.changed(&store).await.unwrap();
    assert!(known.table(&store).await.unwrap().authenticate(secret.expose()).is_some());
}
