//! What a sandbox and its snapshots may hold together: they end there, neighbours do not, and nothing is left behind.

use std::time::Duration;

use blackbox::{
    Answer, Server,
    deadline::{found, wait_until},
    quotas::quotas,
};
use serde_json::json;

/// A layer of 32 MB, and twice that with its snapshots.
const OPTIONS: [&str; 4] = ["--disk-default", "32M", "--snapshot-disk-factor", "2"];
const TOTAL_BYTES: u64 = 64 << 20;
/// What the kernel takes to free what was removed, and the launcher to look, more than once.
const FREED_WITHIN: Duration = Duration::from_secs(60);

/// A program that makes an empty file, and when that is there, a large one.
fn filling(server: &Server) -> String {
    let code = "[ -e base ] || { touch base; exit; }; head -c 25165824 /dev/urandom > big && echo whole";
    let id = server.create(&json!({"runtime": "bash", "code": code}));
    assert_eq!(server.run(&id).output(), "");
    id
}

fn snapshot(server: &Server, id: &str, name: &str) -> Answer {
    server.post(&format!("/admin/api/sandboxes/{id}/snapshots"), &json!({"name": name}))
}

#[track_caller]
fn taken(server: &Server, id: &str, name: &str) -> String {
    let answer = snapshot(server, id, name);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn at(id: &str, snapshot: &str) -> String {
    format!("/admin/api/sandboxes/{id}/snapshots/{snapshot}")
}

#[track_caller]
fn restore(server: &Server, id: &str, snapshot: &str) {
    let answer = server.post_empty(&format!("{}/restore", at(id, snapshot)));
    assert_eq!(answer.status, 204, "{}", answer.text);
}

/// What the sandboxes that have snapshots hold with them, each.
fn held(server: &Server) -> Vec<u64> {
    quotas(server).into_iter().filter(|(name, _)| name.starts_with("1_")).map(|(_, bytes)| bytes).collect()
}

#[track_caller]
fn nothing_is_counted(server: &Server) {
    let layers = || std::fs::read_dir(server.data().join("storage/sandboxes")).unwrap().count();
    // Sandboxes that are prepared for the next requests come and go, and have a layer each.
    let gone = found(FREED_WITHIN, || {
        let (counted, layers) = (quotas(server).len(), layers());
        (held(server).is_empty() && counted <= layers).then_some(())
    });
    assert!(gone.is_ok(), "of {} layers is counted {:?}", layers(), quotas(server));
}

#[test]
fn a_sandbox_that_fills_its_disk_between_snapshots_ends_at_what_it_may_hold_with_them() {
    let server = Server::start_with(&OPTIONS);
    let (id, neighbour) = (filling(&server), filling(&server));
    let base = taken(&server, &id, "base");
    let of_neighbour = taken(&server, &neighbour, "base");
    let mut first = None;
    for name in ["one", "two"] {
        assert_eq!(server.run(&id).output(), "whole\n");
        first.get_or_insert(taken(&server, &id, name));
        restore(&server, &id, &base);
    }
    let run = server.run(&id);
    assert!(run.hit("disk") && run.stderr.contains("Disk quota exceeded"), "{run:?}");
    assert!(run.stderr.contains("hold what they may together"), "{run:?}");
    let refused = snapshot(&server, &id, "three").error(409);
    assert!(refused.contains("64 MB") && refused.contains("delete snapshots"), "{refused}");
    assert!(held(&server).iter().all(|bytes| *bytes <= TOTAL_BYTES), "{:?}", quotas(&server));

    assert_eq!(server.run(&neighbour).output(), "whole\n", "a neighbour has its own");
    let _ = taken(&server, &neighbour, "one");
    restore(&server, &neighbour, &of_neighbour);
    assert_eq!(server.run(&neighbour).output(), "whole\n");

    restore(&server, &id, first.as_ref().unwrap());
    let _ = server.run(&id);
    assert!(["completed", "failed"].contains(&server.status(&id).as_str()), "it was launched");
    assert_eq!(server.delete(&at(&id, first.as_ref().unwrap())).status, 204);
    let freed = found(FREED_WITHIN, || {
        restore(&server, &id, &base);
        (server.run(&id).stdout == "whole\n").then_some(())
    });
    assert!(freed.is_ok(), "what a snapshot held can be written again");
    let freed = found(FREED_WITHIN, || (snapshot(&server, &id, "three").status == 201).then_some(()));
    assert!(freed.is_ok(), "{:?}", quotas(&server));
    server.remove(&id);
    server.remove(&neighbour);
    nothing_is_counted(&server);
}

#[test]
fn a_fork_is_charged_with_what_it_begins_with() {
    let server = Server::start_with(&OPTIONS);
    let id = filling(&server);
    let base = taken(&server, &id, "base");
    assert_eq!(server.run(&id).output(), "whole\n");
    let one = taken(&server, &id, "one");
    restore(&server, &id, &base);
    assert_eq!(server.run(&id).output(), "whole\n");
    let fork = || server.post(&format!("/admin/api/sandboxes/{id}/fork"), &json!({"count": 2}));
    let refused = fork().error(409);
    assert!(refused.contains("the original and its snapshots"), "{refused}");
    assert_eq!(server.get("/sandboxes").ok().as_array().unwrap().len(), 1, "half a fork was not left");
    assert_eq!(server.delete(&at(&id, &one)).status, 204);
    let forks = found(FREED_WITHIN, || Some(fork()).filter(|answer| answer.status == 201));
    let forks = forks.expect("there is room when the snapshot is gone").json();
    let forks: Vec<String> =
        forks.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    let limits = |id: &str| snapshot(&server, id, "own").status;
    assert_eq!(forks.iter().map(|fork| limits(fork)).collect::<Vec<_>>(), [201, 201]);
    server.remove(&id);
    wait_until("what the origin wrote is still counted, for the forks have it", || {
        held(&server).iter().filter(|bytes| **bytes > 20 << 20).count() == 1
    });
    let again = server.post(&format!("/admin/api/sandboxes/{}/fork", forks[0]), &json!({"count": 1}));
    assert_eq!(again.status, 201, "{}", again.text);
    let again = again.json()[0]["id"].as_str().unwrap().to_owned();
    for fork in forks.iter().chain([&again]) {
        server.remove(fork);
    }
    nothing_is_counted(&server);
}

#[test]
fn a_machine_that_has_filled_its_disk_starts_again_and_can_free_it() {
    let server = Server::start_with(&OPTIONS);
    let client = server.with_key(&server.key_create(&[]));
    assert_eq!(client.post("/vms", &json!({"name": "a"})).status, 201);
    let run = |command: &str| client.post("/vms/a/run", &json!({"command": command}));
    let filled = run("cat /dev/urandom > big").ok();
    assert!(filled["stderr"].as_str().unwrap().contains("quota exceeded"), "{filled}");
    let ended = run("kill -TERM 1; sleep 10");
    assert_ne!(ended.status, 200, "{}", ended.text);
    // Until the server has heard of its end, it is told of it once more.
    let freed = found(FREED_WITHIN, || Some(run("rm big && echo freed")).filter(|it| it.status == 200));
    let freed = freed.expect("it is started again").json();
    assert_eq!(freed["stdout"], "freed\n", "{freed}");
    assert_eq!(
        run("dd if=/dev/urandom of=big bs=1M count=20 2>&1 | tail -1 | cut -d, -f1").ok()["exitCode"],
        0
    );
}
