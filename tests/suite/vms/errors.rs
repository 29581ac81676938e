//! Every error that the document and the notes on it name, word for word.

use std::{fs::File, path::PathBuf};

use blackbox::{Server, deadline::wait_until};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use serde_json::json;

use super::{keyed, restore, snapshot_names, snapshots_on_disk, vm_create, vm_output};

/// Every path of a machine, with the method and a body that is right.
const OF_A_VM: [(&str, &str, &str); 6] = [
    ("GET", "", ""),
    ("DELETE", "", ""),
    ("POST", "/run", r#"{"command": "true"}"#),
    ("POST", "/wipe", ""),
    ("GET", "/snapshots", ""),
    ("POST", "/snapshots/initial/restore", ""),
];

#[test]
fn without_a_right_key_nothing_below_vms_says_whether_it_is_there() {
    let server = Server::start();
    // There is a key, so that wrong ones are wrong on every server.
    let key = server.key_create(&[]);
    let mut asked =
        vec![("GET", "/vms".to_owned()), ("POST", "/vms".to_owned()), ("GET", "/snapshots".to_owned())];
    asked.extend(OF_A_VM.iter().map(|(method, path, _)| (*method, format!("/vms/x{path}"))));
    for path in ["/vms/", "/vms/x/y/z", "/vms/x/run/"] {
        asked.extend(["GET", "POST", "PUT"].map(|method| (method, path.to_owned())));
    }
    asked.push(("PATCH", "/vms".to_owned()));
    for (method, path) in &asked {
        let missing = server.send(method, path, None).unwrap();
        assert_eq!(missing.error(401), "API key required (x-api-key header)", "{method} {path}");
    }
    // As many as an address may have wrong without waiting.
    for (method, path) in asked.iter().take(15) {
        let wrong = server.with_header("x-api-key", "ws_wrong").send(method, path, None).unwrap();
        assert_eq!(wrong.error(403), "Invalid API key", "{method} {path}");
    }
    let client = server.with_key(&key);
    assert_eq!(client.get("/vms/x/y/z").error(404), "there is no /vms/x/y/z; see /openapi.json");
    let _ = client.send("PATCH", "/vms", None).unwrap().error(405);
    let _ = server.get("/vmsx").error(404);
}

#[test]
fn what_is_not_there_is_404_by_its_name() {
    let server = Server::start();
    let client = keyed(&server);
    for (method, path, body) in OF_A_VM {
        let body = (!body.is_empty()).then_some(body.as_bytes());
        let answer = client.send(method, &format!("/vms/no%20such{path}"), body).unwrap();
        assert_eq!(answer.error(404), "VM \"no such\" not found", "{method} {path}");
    }
    vm_create(&client, "a");
    assert_eq!(restore(&client, "a", "cmd_1").error(404), "Snapshot \"cmd_1\" not found");
    vm_create(&client, "b");
    let other = client.post("/vms/b/run", &json!({"command": "true"})).ok();
    let of_b = other["snapshot"].as_str().unwrap();
    assert_eq!(restore(&client, "a", of_b).error(404), format!("Snapshot \"{of_b}\" not found"));
}

#[test]
fn a_name_is_required_and_checked_and_taken_once() {
    let server = Server::start();
    let client = keyed(&server);
    for body in [json!({}), json!({"name": null}), json!({"name": ""})] {
        assert_eq!(client.post("/vms", &body).error(400), "name is required");
    }
    assert_eq!(client.post_empty("/vms").error(400), "name is required");
    for name in ["a b", "a/b", "é", &"x".repeat(64), "a\u{0}", ".."] {
        assert!(client.post("/vms", &json!({"name": name})).error(400).starts_with("name: "), "{name}");
    }
    for body in ["{", "[]", "5", "null", r#"{"name": 5}"#, r#"{"name": ["a"]}"#] {
        let _ = client.post_bytes("/vms", body.as_bytes()).error(400);
    }
    let longest = "x".repeat(63);
    vm_create(&client, &longest);
    assert_eq!(
        client.post("/vms", &json!({"name": longest})).error(409),
        format!("VM \"{longest}\" already exists")
    );
    assert_eq!(client.get("/vms").ok()["vms"].as_array().unwrap().len(), 1);
}

#[test]
fn of_many_that_want_one_name_at_once_one_gets_it() {
    let server = Server::start();
    let client = keyed(&server);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..6).map(|_| scope.spawn(|| client.post("/vms", &json!({"name": "a"})).status)).collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    assert_eq!(snapshot_names(&client, "a"), ["initial"]);
}

#[test]
fn a_command_and_its_time_are_checked_before_anything_runs() {
    let server = Server::start_with(&["--timeout-max", "1m", "--body-max", "1M"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    let run = |body: &str| client.post_bytes("/vms/a/run", body.as_bytes());
    for body in ["{}", r#"{"command": ""}"#, r#"{"command": null}"#, r#"{"timeout": 5}"#] {
        assert_eq!(run(body).error(400), "command is required", "{body}");
    }
    assert_eq!(client.post_empty("/vms/a/run").error(400), "command is required");
    assert!(run(r#"{"command": 5}"#).error(400).starts_with("command: "));
    assert!(run(r#"{"command": "a\u0000b"}"#).error(400).starts_with("command: "));
    assert!(run(&format!(r#"{{"command": "{}"}}"#, "x".repeat(140_000))).error(400).starts_with("command: "));
    for timeout in ["0", "-1", "61", "60.001", "1e300", "\"5\"", "[]"] {
        let text = run(&format!(r#"{{"command": "touch f", "timeout": {timeout}}}"#)).error(400);
        assert!(text.starts_with("timeout: "), "{timeout}: {text}");
    }
    assert!(run(&format!(r#"{{"command": "{}"}}"#, "x".repeat(1 << 20))).error(413).contains("1048576"));
    assert_eq!(run(r#"{"command": "ls -A", "timeout": 60}"#).ok()["stdout"], "", "nothing of it ran");
    assert_eq!(run(r#"{"command": "true", "timeout": null}"#).ok()["exitCode"], 0);
    let longest = format!("echo {}", "x".repeat(131_066));
    assert_eq!(vm_output(&client, "a", &longest).len(), 131_067);
}

#[test]
fn too_many_machines_are_429_with_the_time_to_wait() {
    let server = Server::start_with(&["--sandboxes-max", "1"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    let refused = client.post("/vms", &json!({"name": "b"}));
    assert!(refused.error(429).contains("Too many"), "{}", refused.text);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

/// Takes room without writing, until there is none for a snapshot.
fn fill(server: &Server) -> PathBuf {
    let path = server.data().join("storage/ballast");
    let file = File::create(&path).unwrap();
    let free_bytes = || statvfs(&path).map(|it| it.f_bavail * it.f_frsize).unwrap();
    let mut taken = 0;
    for piece in [256 << 20, 16 << 20, 4 << 20, 1 << 20] {
        // In small pieces, each committed: btrfs says that nothing is free while it looks for a large one.
        while free_bytes() >= 24 << 20 && fallocate(&file, FallocateFlags::empty(), taken, piece).is_ok() {
            syncfs(&file).unwrap();
            taken += piece;
        }
    }
    path
}

#[test]
fn a_snapshot_without_room_is_told_and_leaves_the_machine_as_good_as_before() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    assert_eq!(vm_output(&client, "a", "echo one > f; cat f"), "one\n");
    let before = snapshot_names(&client, "a");
    let ballast = fill(&server);
    let refused = client.post("/vms/a/run", &json!({"command": "true"})).error(503);
    assert!(refused.contains("snapshot") && refused.contains("storage is full"), "{refused}");
    assert_eq!(client.get("/vms/a").ok()["agentHealthy"], true);
    let refused = client.post("/vms", &json!({"name": "b"})).error(503);
    assert!(refused.contains("storage is full"), "{refused}");
    assert_eq!(client.get("/vms/b").error(404), "VM \"b\" not found");
    assert_eq!(snapshot_names(&client, "a"), before, "no ghost");
    assert_eq!(snapshots_on_disk(&server), before.len());
    std::fs::remove_file(ballast).unwrap();
    wait_until("there is room again", || {
        client.post("/vms/a/run", &json!({"command": "cat f"})).status == 200
    });
    assert_eq!(vm_output(&client, "a", "cat f"), "one\n");
    assert_eq!(restore(&client, "a", "initial").status, 200);
    assert_eq!(snapshots_on_disk(&server), 1);
}
