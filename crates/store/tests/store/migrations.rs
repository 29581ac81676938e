//! The schema at every version, and stores of every version brought up to date.

use std::{collections::BTreeMap, fs, path::Path};

use protocol::{SandboxId, launcher::NetworkMode, limits::Limits};
use rusqlite::Connection;
use store::{EndReason, OnAccess, Page, SandboxFilter, SandboxRecord, SandboxState};

use crate::fixture::{Fixture, at};

/// A row as version 1 wrote it. If it cannot be read any more, a migration is missing, not a change here.
const ROW: &str = r#"
INSERT INTO sandboxes (seq, id, owner, dialect, name, state, created_at, started_at, ended_at, lease_until, end_reason,
    image, network, limits, env, metadata, program, ephemeral, last_result)
VALUES (1, 'c0ffee00-0000-4000-8000-000000000001', 'alice', 'vms', 'build', 'paused', 1, 2, 3, 4,
    '{"kind":"exited","code":3}', 'host', 'nat',
    '{"memory_bytes":5,"cpu_millis":6,"pids":7,"disk_bytes":8,"open_files":9}',
    '[["B","2"],["A","1"]]', '{"team":"x"}', '{"language":"node"}', 1, '{"stdout":"hi"}');
INSERT INTO programs VALUES ('c0ffee00-0000-4000-8000-000000000001', x'0102');
"#;

fn row() -> SandboxRecord {
    SandboxRecord {
        id: row_id(),
        number: None,
        ordinal: None,
        owner: "alice".to_owned(),
        dialect: "vms".to_owned(),
        name: Some("build".to_owned()),
        state: SandboxState::Paused,
        created_at: at(1),
        started_at: Some(at(2)),
        ended_at: Some(at(3)),
        lease_until: Some(at(4)),
        end: Some(EndReason::Exited { code: 3 }),
        image: "host".to_owned(),
        network: NetworkMode::Nat,
        limits: Limits { memory_bytes: 5, cpu_millis: 6, pids: 7, disk_bytes: 8, open_files: 9 },
        env: vec![("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())],
        metadata: BTreeMap::from([("team".to_owned(), "x".to_owned())]),
        program: Some(serde_json::json!({ "language": "node" })),
        ephemeral: true,
        last_result: Some(serde_json::json!({ "stdout": "hi" })),
        pending: None,
        entrypoint: None,
        details: None,
        on_access: OnAccess::default(),
        network_policy: None,
        volumes: Vec::new(),
        used_at: None,
        variables: Vec::new(),
    }
}

fn row_id() -> SandboxId {
    "c0ffee00-0000-4000-8000-000000000001".parse().unwrap()
}

/// The migrations in the folder, whether or not the store knows of them.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn schema(connection: &Connection) -> String {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<Vec<String>, _>>().unwrap().join(";\n\n")
}

fn store_at_version(path: &Path, version: usize) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "application_id", 0x4174_6f6c).unwrap();
    connection.pragma_update(None, "user_version", version as u32).unwrap();
    for sql in &migrations()[..version] {
        connection.execute_batch(sql).unwrap();
    }
    connection
}

#[test]
fn the_schema_of_a_version_never_changes() {
    for version in 1..=migrations().len() {
        let connection = store_at_version(Path::new(":memory:"), version);
        insta::assert_snapshot!(format!("schema_{version}"), schema(&connection));
    }
}

#[test]
fn a_new_store_has_all_migrations() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let made = Connection::open(fixture.path.as_path()).unwrap();
    let version: usize = made.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let last = store_at_version(Path::new(":memory:"), migrations().len());
    assert_eq!((version, schema(&made)), (migrations().len(), schema(&last)));
}

#[tokio::test]
async fn a_store_of_any_version_is_brought_up_to_date() {
    for version in 0..=migrations().len() {
        let fixture = Fixture::new();
        let old = store_at_version(fixture.path.as_path(), version);
        if version > 0 {
            old.execute_batch(ROW).unwrap();
        }
        drop(old);
        let store = fixture.open();
        let listed = store.sandbox_list(SandboxFilter::default(), Page::ALL).await.unwrap();
        let expected = if version > 0 { vec![row()] } else { vec![] };
        assert_eq!(listed.records, expected, "from version {version}");
        let program = store.program_get(row_id()).await.unwrap();
        assert_eq!(program, (version > 0).then(|| vec![1, 2]), "from version {version}");
        drop(store);
        let migrated = Connection::open(fixture.path.as_path()).unwrap();
        let last = store_at_version(Path::new(":memory:"), migrations().len());
        assert_eq!(schema(&migrated), schema(&last), "from version {version}");
    }
}

/// Version 1 with a table in the way of migration 2: version 1 it stays, with all it had.
#[test]
fn a_failed_migration_changes_nothing_and_is_named() {
    let fixture = Fixture::new();
    let old = store_at_version(fixture.path.as_path(), 1);
    old.execute_batch("CREATE TABLE events_by_sandbox (x)").unwrap();
    let before = schema(&old);
    drop(old);
    let refusal = store::Store::open(&fixture.path).unwrap_err();
    assert!(refusal.to_string().contains("0002_events"), "{refusal}");
    let after = Connection::open(fixture.path.as_path()).unwrap();
    let version: u32 = after.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!((version, schema(&after)), (1, before));
}
