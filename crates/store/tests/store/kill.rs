//! `kill -9` in the middle of writing: what was acknowledged is there, and nothing is there by half.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
};

use protocol::{HostPath, SandboxId};
use store::{Batch, Counter, OpenError, Page, SandboxFilter, Store};

use crate::fixture::{Fixture, event, record};

/// Set for the child, which is this test again, to the path of the store.
const CHILD: &str = "ATOLL_STORE_TEST_CHILD";
const NAME: &str = "kill::acknowledged_batches_survive_a_kill";

#[test]
fn acknowledged_batches_survive_a_kill() {
    if let Some(path) = std::env::var_os(CHILD) {
        child_write(&HostPath::new(path));
    }
    let fixture = Fixture::new();
    let mut acknowledged: Vec<SandboxId> = Vec::new();
    // The first kill hits a young store, the later ones stores whose log has been checkpointed.
    for count in [1, 40, 400, 4000] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(CHILD, fixture.path.as_path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
        // A line cut short by the kill is no identifier; the test harness writes lines of its own.
        let mut ids =
            lines.by_ref().filter_map(|line| str::from_utf8(&line.ok()?).ok()?.parse::<SandboxId>().ok());
        acknowledged.extend(ids.by_ref().take(count));
        assert!(matches!(Store::open(&fixture.path), Err(OpenError::InUse { .. })));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(ids);
        store_check(&fixture, &acknowledged);
    }
}

fn store_check(fixture: &Fixture, acknowledged: &[SandboxId]) {
    let store = fixture.open();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for id in acknowledged {
            assert_eq!(store.sandbox_get(*id).await.unwrap().id, *id);
        }
        let stored = store.sandbox_list(SandboxFilter::default(), Page::ALL).await.unwrap();
        assert!(stored.total >= acknowledged.len() as u64);
        for record in &stored.records {
            let program = store.program_get(record.id).await.unwrap();
            assert_eq!(program, Some(record.id.to_string().into_bytes()));
        }
        let events = store.event_list(u32::MAX, None, None).await.unwrap();
        let created = store.counter_get(Counter::SandboxesCreated).await.unwrap();
        assert_eq!((events.len() as u64, created), (stored.total, stored.total));
    });
}

/// Writes from many tasks until it is killed, and prints each identifier when its batch is acknowledged.
fn child_write(path: &HostPath) -> ! {
    let store = Arc::new(Store::open(path).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        runtime.spawn(async move {
            loop {
                let record = record();
                let id = record.id;
                let batch = Batch::new()
                    .sandbox_insert(record, Some(id.to_string().into_bytes()))
                    .event_append(event(id))
                    .counter_add(Counter::SandboxesCreated, 1);
                store.apply(batch).await.unwrap();
                // One write(2) for a line: what the pipe has of it survives this process.
                std::io::stdout().write_all(format!("{id}\n").as_bytes()).unwrap();
            }
        });
    }
    loop {
        std::thread::park();
    }
}
