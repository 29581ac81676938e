//! What is refused, and that it is left as it was.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
};

use protocol::HostPath;
use rusqlite::{Connection, config::DbConfig};
use store::{Batch, OpenError, Store};

use crate::fixture::{Fixture, record};

#[test]
fn the_file_is_private_and_alone_after_closing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for entry in fs::read_dir(fixture.folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(store);
    assert_eq!(fixture.hashes().into_keys().collect::<Vec<_>>(), ["atoll.db"]);
}

#[test]
fn a_file_without_bytes_becomes_a_store() {
    let fixture = Fixture::new();
    File::create(fixture.path.as_path()).unwrap();
    drop(fixture.open());
    drop(fixture.open());
}

#[test]
fn a_file_of_something_else_is_refused_and_untouched() {
    for content in ["hello", "SQLite format 3\0", &"x".repeat(100_000)] {
        let fixture = Fixture::new();
        fs::write(fixture.path.as_path(), content).unwrap();
        let before = fixture.hashes();
        let refusal = Store::open(&fixture.path).unwrap_err();
        assert!(matches!(refusal, OpenError::NotSqlite { .. }), "{refusal}");
        assert!(refusal.to_string().contains(fixture.path.as_path().to_str().unwrap()), "{refusal}");
        assert_eq!(fixture.hashes(), before);
    }
}

#[test]
fn a_database_of_another_program_is_refused_and_untouched() {
    for (id, journal) in [(0, "delete"), (7, "delete"), (7, "wal")] {
        let fixture = Fixture::new();
        let other = Connection::open(fixture.path.as_path()).unwrap();
        other.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        other.pragma_update(None, "application_id", id).unwrap();
        other.pragma_update(None, "journal_mode", journal).unwrap();
        other.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").unwrap();
        drop(other);
        let before = fixture.hashes();
        assert_eq!(before.contains_key("atoll.db-wal"), journal == "wal");
        let refusal = Store::open(&fixture.path).unwrap_err();
        assert!(matches!(refusal, OpenError::Foreign { application_id, .. } if application_id == id));
        assert_eq!(fixture.hashes(), before);
    }
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_untouched() {
    let fixture = Fixture::new();
    drop(fixture.open());
    Connection::open(fixture.path.as_path()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fixture.hashes();
    let refusal = Store::open(&fixture.path).unwrap_err();
    assert!(matches!(refusal, OpenError::Newer { found: 99, known: 11, .. }), "{refusal}");
    assert_eq!(fixture.hashes(), before);
}

/// As a crash of the newer version leaves it: the file's header does not say yet what the log says.
#[test]
fn a_newer_version_in_the_log_is_refused_and_untouched() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let newer = Connection::open(fixture.path.as_path()).unwrap();
    newer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = fixture.hashes();
    let refusal = Store::open(&fixture.path).unwrap_err();
    assert!(matches!(refusal, OpenError::Newer { found: 99, .. }), "{refusal}");
    let after = fixture.hashes();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["atoll.db", "atoll.db-shm", "atoll.db-wal"]);
    // The -shm is an index of the log, made anew by whoever opens it.
    for name in ["atoll.db", "atoll.db-wal"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_untouched() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for _ in 0..100 {
        store.apply(Batch::new().sandbox_insert(record(), None)).await.unwrap();
    }
    drop(store);
    let sound = fs::read(fixture.path.as_path()).unwrap();
    let file = File::options().write(true).open(fixture.path.as_path()).unwrap();
    for page in 0..sound.len() as u64 / 4096 {
        // On the first page, only the part behind the header.
        let header = if page == 0 { 100 } else { 0 };
        file.write_all_at(&vec![0xAB; 4096 - header], page * 4096 + header as u64).unwrap();
        refuse_damaged(&fixture);
        file.write_all_at(&sound, 0).unwrap();
    }
    file.set_len(sound.len() as u64 / 2).unwrap();
    refuse_damaged(&fixture);
    file.write_all_at(&sound, 0).unwrap();
    drop(fixture.open());
}

fn refuse_damaged(fixture: &Fixture) {
    let before = fixture.hashes();
    let refusal = Store::open(&fixture.path).unwrap_err();
    assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
    assert_eq!(fixture.hashes(), before);
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let fixture = Fixture::new();
    let refusal = Store::open(&HostPath::new(fixture.folder.path().join("none/atoll.db"))).unwrap_err();
    assert!(refusal.to_string().contains("none/atoll.db"), "{refusal}");
    assert!(fixture.hashes().is_empty());
}

#[test]
fn a_second_store_on_the_same_file_is_refused() {
    let fixture = Fixture::new();
    let alias = HostPath::new(fixture.folder.path().join("alias.db"));
    let first = fixture.open();
    symlink(fixture.path.as_path(), alias.as_path()).unwrap();
    for path in [&fixture.path, &alias] {
        let refusal = Store::open(path).unwrap_err();
        assert!(matches!(refusal, OpenError::InUse { .. }), "{refusal}");
    }
    drop(first);
    drop(Store::open(&alias).unwrap());
    drop(fixture.open());
}
