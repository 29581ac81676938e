//! A server, or its launcher, that dies: what runs goes on, and is found again.

mod kills;
mod notes;
pub(crate) mod reboot;

use blackbox::{Server, deadline::wait_until, status_field};
use serde_json::json;

#[test]
fn another_launcher_takes_over_when_one_dies() {
    let server = Server::start();
    let code = "n=0; while :; do echo tick $((n++)); sleep 0.05; done";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    for _ in 0..3 {
        server.launcher_kill();
        assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
        assert_eq!(server.status(&id), "running");
    }
    let lines = || server.get(&format!("/admin/api/sandboxes/{id}/logs?lines=1000")).ok();
    let before = lines().as_array().unwrap().len();
    wait_until("it still runs, and is still listened to", || lines().as_array().unwrap().len() > before);
    server.remove(&id);
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}

#[test]
fn a_program_goes_on_when_its_server_is_killed_and_the_next_one_listens() {
    // A second address that stays the same: what is left of a killed server must not hold it.
    let fixed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut server = Server::start_with(&["--listen", &fixed]);
    let code = "n=0; while :; do echo tick $((n++)); sleep 0.05; done";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    // Its process id and name; whether it runs or sleeps changes from look to look.
    let bash = |server: &Server| {
        let traces = server.traces();
        let program = traces.programs().into_iter().find(|program| program.contains(" bash ("))?;
        program.split(" (").next().map(str::to_owned)
    };
    let before = bash(&server).expect("the program runs");
    for stop in [true, false] {
        if stop {
            server.stop();
        } else {
            server.kill();
        }
        server.start_again();
        assert_eq!(server.status(&id), "running");
        assert_eq!(bash(&server).as_deref(), Some(before.as_str()), "it is the same process");
        let log = || server.get(&format!("/admin/api/sandboxes/{id}/logs?lines=1000")).ok();
        let lines = log().as_array().unwrap().len();
        wait_until("it is listened to", || log().as_array().unwrap().len() > lines.max(10));
        assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    }
    server.remove(&id);
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}

#[test]
fn a_run_goes_on_when_its_server_is_killed_and_its_result_is_recorded() {
    let mut server = Server::start();
    let code = "echo before; echo error >&2; until [ -e go ]; do sleep 0.02; done; echo after; exit 3";
    let id = server.create(&json!({"runtime": "bash", "code": code, "timeout_ms": 60000}));
    let client = (*server).clone();
    let path = format!("/sandbox/{id}/execute");
    let run = std::thread::spawn(move || client.send("POST", &path, None));
    let waits = || server.traces().programs().iter().any(|program| program.contains("sleep"));
    wait_until("it has written, and waits", || server.status(&id) == "running" && waits());
    // The second of two servers has it from the agent as the first had.
    server.kill();
    assert!(run.join().unwrap().is_err());
    server.start_again();
    server.kill();
    server.start_again();
    assert_eq!(server.status(&id), "running");
    let _ = server.post(&format!("/sandbox/{id}/files"), &json!([{"path": "go", "content": "x"}])).ok();
    wait_until("its end is on record", || server.status(&id) == "failed");
    assert_eq!(server.get(&format!("/sandbox/{id}")).ok()["ended"]["text"], "exited with status 3");
    assert_eq!(texts(&server, &id), ["before", "after", "error"]);
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}

/// The lines of a sandbox's log.
fn texts(server: &Server, id: &str) -> Vec<String> {
    let lines = server.get(&format!("/admin/api/sandboxes/{id}/logs?lines=1000")).ok();
    lines.as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_program_wrote_before_its_server_was_killed_is_in_the_log_of_the_next_one() {
    let mut server = Server::start();
    let code = "echo a; until [ -e /tmp/go ]; do sleep 0.02; done; echo b; exec sleep 1000";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    wait_until("the first line is there", || texts(&server, &id) == ["a"]);
    let programs = server.traces();
    let bash = programs.programs().into_iter().find(|program| program.contains("bash")).expect("it runs");
    let pid: u32 = bash.split(' ').next().unwrap().parse().unwrap();
    server.kill();
    // Through its root, as the host sees it: no server is there to ask.
    std::fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    wait_until("it has gone on", || status_field(pid, "Name").as_deref() == Some("sleep"));
    server.start_again();
    wait_until("the log has all of it", || texts(&server, &id) == ["a", "b"]);
}

#[test]
fn a_run_that_was_being_set_up_when_its_server_was_killed_is_on_record_as_lost() {
    let mut server = Server::start();
    let package = json!({"path": "package.json", "content": r#"{"scripts": {"preinstall": "sleep 60"}}"#});
    let id = server.create(&json!({
        "runtime": "node", "code": "1", "timeout_ms": 60000, "install_deps": true, "files": [package],
    }));
    let client = (*server).clone();
    let path = format!("/sandbox/{id}/execute");
    let run = std::thread::spawn(move || client.send("POST", &path, None));
    let installs = || server.traces().programs().iter().any(|program| program.to_string().contains("sleep"));
    wait_until("it is being set up", installs);
    server.kill();
    assert!(run.join().unwrap().is_err());
    server.start_again();
    wait_until("its end is on record", || server.status(&id) == "failed");
    let ended = server.get(&format!("/sandbox/{id}")).ok()["ended"].clone();
    assert_eq!(ended["reason"], "lost", "{ended}");
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}

#[test]
fn a_lease_ends_on_time_though_the_server_was_killed() {
    let mut server = Server::start_with(&["--lease-persistent", "4s"]);
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    server.kill();
    server.start_again();
    assert_eq!(server.status(&id), "running");
    wait_until("its lease ends it", || {
        server.get(&format!("/sandbox/{id}")).ok()["ended"]["reason"] == "lease_ended"
    });
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}

#[test]
fn runs_of_which_nothing_is_kept_succeed_though_launchers_die() {
    let server = Server::start();
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_done() {
                    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
                }
            });
        }
        for _ in 0..10 {
            std::thread::sleep(std::time::Duration::from_millis(200));
            server.launcher_kill();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// At its first sandbox a slot gets its user namespace, by the help of a process. What a launcher that dies over
/// that leaves behind must not hold up the next one.
#[test]
fn a_launcher_that_dies_over_many_first_sandboxes_is_followed() {
    let server = Server::start();
    for number in 0..25 {
        // A launcher that dies young has its successor wait.
        std::thread::sleep(std::time::Duration::from_millis(120));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n"));
            }
            std::thread::sleep(std::time::Duration::from_micros(4000 + 700 * number));
            server.launcher_kill();
        });
    }
}

#[test]
fn a_layer_that_was_being_made_when_the_launcher_died_is_made_to_its_end() {
    let server = Server::start();
    let id = server.create(&json!({"runtime": "bash", "code": "echo alive > file; cat file"}));
    let layer = server.data().join("storage/sandboxes").join(&id);
    let made = std::process::Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(layer).status();
    assert!(made.unwrap().success());
    assert_eq!(server.run(&id).output(), "alive\n");
}

/// Kills the launcher while machines are restored: what the next launcher does not find then is not lost.
#[test]
fn a_machine_that_was_restored_while_the_launcher_died_is_up() {
    let server = Server::start();
    let key = server.key_create(&["--admin"]);
    let client = server.with_key(&key);
    assert_eq!(client.post("/vms", &json!({"name": "m"})).status, 201);
    for number in 0..25 {
        // A launcher that dies young has its successor wait.
        std::thread::sleep(std::time::Duration::from_millis(120));
        let restored = std::thread::scope(|scope| {
            let restore = scope.spawn(|| client.post_empty("/vms/m/snapshots/initial/restore").status);
            std::thread::sleep(std::time::Duration::from_millis(number % 15));
            server.launcher_kill();
            restore.join().unwrap()
        });
        assert_eq!(restored, 200);
        assert_eq!(client.execute_code("bash", "echo alive").output(), "alive\n");
        let machine = client.get("/vms/m").ok();
        assert_eq!(machine["status"], "running", "after restore {number}: {machine}");
    }
}
