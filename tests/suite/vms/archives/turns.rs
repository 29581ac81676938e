//! Whose turn it is, and whose machine: exports wait for nobody, imports for what was asked before.

use std::{
    thread,
    time::{Duration, Instant},
};

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

use super::{export, import, import_ok, keyed, snapshot_names, tar::Tar, vm_create, vm_output, vm_run, zstd};

#[test]
fn an_export_neither_waits_for_a_command_nor_disturbs_it() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let first = vm_run(&client, "a", "for i in $(seq 500); do echo $i > f$i; done")["snapshot"].clone();
    let before = client.get("/vms/a").ok();
    let command = "rm -f f*; for i in $(seq 60); do echo $i >> log; sleep 0.05; done; wc -l < log";
    thread::scope(|scope| {
        let running = scope.spawn(|| client.post("/vms/a/run", &json!({"command": command})));
        wait_until("it runs", || !server.traces().programs().is_empty());
        let start = Instant::now();
        let archive = export(&client, "a", first.as_str().unwrap());
        assert!(start.elapsed() < Duration::from_secs(2) && !running.is_finished(), "it waited");
        assert_eq!(running.join().unwrap().ok()["stdout"], "60\n");
        import_ok(&client, "a", &archive);
    });
    assert_eq!(vm_output(&client, "a", "ls | wc -l"), "500\n");
    assert_eq!(client.get("/vms/a").ok(), before, "it was never another machine");
    assert_eq!(client.get("/vms").ok()["vms"].as_array().unwrap().len(), 1);
}

#[test]
fn an_import_waits_for_the_command_before_it() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let archive = zstd(&Tar::default().file("imported", b"x").end());
    let command = "for i in $(seq 40); do echo $i > f$i; sleep 0.02; done; ls | wc -l";
    thread::scope(|scope| {
        let running = scope.spawn(|| client.post("/vms/a/run", &json!({"command": command})));
        wait_until("it runs", || !server.traces().programs().is_empty());
        let imported = scope.spawn(|| import(&client, "a", &archive));
        assert_eq!(running.join().unwrap().ok()["stdout"], "40\n", "nothing came in between");
        assert_eq!(imported.join().unwrap().status, 201);
    });
    assert_eq!(vm_output(&client, "a", "ls"), "imported\n");
    let names = snapshot_names(&client, "a");
    assert!(names[1].starts_with("cmd_") && names[2].starts_with("import_"), "{names:?}");
}

#[test]
fn archives_are_for_the_key_whose_machine_it_is() {
    let server = Server::start();
    let (client, other) = (keyed(&server), keyed(&server));
    vm_create(&client, "a");
    let archive = export(&client, "a", "initial");
    let none = "VM \"a\" not found";
    assert_eq!(other.get("/vms/a/snapshots/initial/export").error(404), none);
    assert_eq!(import(&other, "a", &archive).error(404), none);
    assert_eq!(import(&client, "x", &archive).error(404), "VM \"x\" not found");
    assert_eq!(client.get("/vms/a/snapshots/no/export").error(404), "Snapshot \"no\" not found");
    let open = blackbox::Client::new(server.address());
    assert_eq!(open.get("/vms/a/snapshots/initial/export").status, 401);
    assert_eq!(import(&open, "a", &archive).status, 401);
    let wrong = open.with_header("x-api-key", "ws_no");
    assert_eq!(wrong.get("/vms/a/snapshots/initial/export").status, 403);
    assert_eq!(import(&wrong, "a", &archive).status, 403);
    vm_create(&other, "a");
    vm_output(&other, "a", "echo mine > f");
    import_ok(&client, "a", &archive);
    assert_eq!(vm_output(&other, "a", "ls"), "f\n", "another's machine of the same name");
}

#[test]
fn exports_count_as_what_runs_and_are_not_listed() {
    let server = Server::start_with(&["--running-max", "1"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    let refused = client.get("/vms/a/snapshots/initial/export");
    assert!(refused.error(429).contains("at most 1"), "{}", refused.text);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(vm_output(&client, "a", "ls -A"), "");
}
