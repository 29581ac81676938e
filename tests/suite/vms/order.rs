//! Requests for one machine at once: they follow each other, and none sees the middle of another.

use std::thread;

use blackbox::{Client, Server, deadline::wait_until};
use serde_json::json;

use super::{keyed, restore, snapshot_names, vm_create, vm_output, vm_run};

/// Begins a command that takes a while, and returns when it runs.
fn begin<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    server: &Server,
    client: &'scope Client,
    command: &'scope str,
) -> thread::ScopedJoinHandle<'scope, blackbox::Answer> {
    let running = scope.spawn(move || client.post("/vms/a/run", &json!({"command": command})));
    wait_until("it runs", || !server.traces().programs().is_empty());
    running
}

#[test]
fn commands_of_one_machine_follow_each_other() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let command =
        "mkdir alone && n=$(cat n 2>/dev/null || echo 0) && sleep 0.05 && echo $((n + 1)) > n && rmdir alone";
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| vm_run(&client, "a", command))).collect();
        for one in all {
            let ran = one.join().unwrap();
            assert_eq!(ran["exitCode"], 0, "another one ran at the same time: {ran}");
        }
    });
    assert_eq!(vm_output(&client, "a", "cat n"), "8\n");
    let names = snapshot_names(&client, "a");
    assert_eq!(names.len(), 10);
    assert!(names[1..].is_sorted_by(|a, b| a < b), "each has a name of its own: {names:?}");
    assert_eq!(restore(&client, "a", &names[5]).status, 200);
    assert_eq!(vm_output(&client, "a", "cat n"), "5\n", "the state after each is its own");
}

#[test]
fn a_restore_waits_for_the_command_before_it_and_undoes_it_whole() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    thread::scope(|scope| {
        let command = "for i in $(seq 40); do echo $i > f$i; sleep 0.02; done";
        let running = begin(scope, &server, &client, command);
        assert_eq!(restore(&client, "a", "initial").status, 200);
        assert_eq!(running.join().unwrap().ok()["exitCode"], 0, "it was not broken off");
    });
    assert_eq!(snapshot_names(&client, "a"), ["initial"], "the command's snapshot is a later one");
    assert_eq!(vm_output(&client, "a", "ls -A"), "");
}

#[test]
fn a_command_behind_a_restore_sees_its_files() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let first = vm_run(&client, "a", "echo one > f")["snapshot"].as_str().unwrap().to_owned();
    vm_run(&client, "a", "echo two > f");
    thread::scope(|scope| {
        let running = begin(scope, &server, &client, "sleep 0.5; cat f");
        let restoring = scope.spawn(|| restore(&client, "a", &first));
        let behind = scope.spawn(|| vm_output(&client, "a", "cat f"));
        assert_eq!(running.join().unwrap().ok()["stdout"], "two\n");
        assert_eq!(restoring.join().unwrap().status, 200);
        // Whether it came before the restore or after it: one of the two, whole.
        assert!(["one\n", "two\n"].contains(&behind.join().unwrap().as_str()));
    });
    assert_eq!(vm_output(&client, "a", "cat f"), "one\n");
}

#[test]
fn of_two_restores_at_once_both_are_whole() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let take = |text: &str| {
        let ran = vm_run(&client, "a", &format!("for i in 1 2 3 4 5 6 7 8; do echo {text} > f$i; done"));
        ran["snapshot"].as_str().unwrap().to_owned()
    };
    let (older, newer) = (take("older"), take("newer"));
    let statuses = thread::scope(|scope| {
        let asked = [&newer, &older].map(|name| scope.spawn(|| restore(&client, "a", name).status));
        asked.map(|it| it.join().unwrap())
    });
    // If the older one came first, it has taken the newer one with it.
    assert!(matches!(statuses, [200 | 404, 200]), "{statuses:?}");
    assert_eq!(snapshot_names(&client, "a"), ["initial", older.as_str()]);
    assert_eq!(vm_output(&client, "a", "sort -u f*; ls | wc -l"), "older\n8\n");
}

#[test]
fn a_machine_that_is_deleted_while_a_command_runs_is_gone_whole() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    vm_create(&client, "a");
    thread::scope(|scope| {
        let running = begin(scope, &server, &client, "while :; do echo x >> f; done");
        let waiting = scope.spawn(|| client.post("/vms/a/run", &json!({"command": "true"})));
        assert_eq!(client.delete("/vms/a").status, 200);
        assert_eq!(running.join().unwrap().error(409), "VM \"a\" ended while the request ran");
        let waited = waiting.join().unwrap();
        assert!([404, 409].contains(&waited.status), "{}", waited.text);
    });
    assert_eq!(client.get("/vms/a").error(404), "VM \"a\" not found");
    server.nothing_left(&before);
    vm_create(&client, "a");
    assert_eq!(vm_output(&client, "a", "ls -A"), "", "its name is free");
}
