//! Records, leases and restarts.

use std::{fs, time::Duration};

use blackbox::{
    Server,
    deadline::{found, wait_until},
};
use serde_json::json;

#[test]
fn records_outlive_a_restart() {
    let mut server = Server::start();
    let good = server
        .create(&json!({"runtime": "bash", "code": "cat kept 2>/dev/null; echo line >> kept; echo ran"}));
    let bad = server.create(&json!({"runtime": "bash", "code": "exit 4"}));
    let fresh = server.create(&json!({
        "runtime": "python", "code": "import os\nprint(os.environ['A'], open('f').read())",
        "env_vars": {"A": "b"}, "files": [{"path": "f", "content": "c"}],
    }));
    assert_eq!(server.run(&good).output(), "ran\n");
    assert_eq!(server.run(&bad).exit_code, 4);
    let before = server.get("/sandboxes").ok();
    assert!(server.stop().success());
    server.start_again();
    assert_eq!(server.get("/sandboxes").ok(), before);
    assert_eq!((server.status(&good), server.status(&bad)), ("completed".to_owned(), "failed".to_owned()));
    assert_eq!(server.run(&good).output(), "line\nran\n", "its files are still there");
    assert_eq!(server.run(&fresh).output(), "b c\n");
    assert_eq!(server.run(&bad).exit_code, 4);
}

#[test]
fn records_outlive_a_crash() {
    let mut server = Server::start();
    let before = server.traces_at_rest();
    let done = server.create(&json!({"runtime": "bash", "code": "echo ran"}));
    assert_eq!(server.run(&done).output(), "ran\n");
    let running = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&running).is_running);
    server.kill();
    server.start_again();
    assert_eq!(server.status(&done), "completed");
    // Whether it was adopted or ended: the record and the host agree, and it can be deleted.
    let status = server.status(&running);
    let lives = !server.traces().programs().is_empty();
    assert_eq!(status == "running", lives, "{status}");
    for id in [done, running] {
        server.remove(&id);
    }
    server.nothing_left(&before);
}

#[test]
fn a_crash_in_the_middle_of_many_runs_is_cleared_up() {
    let mut server = Server::start();
    let before = server.traces_at_rest();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let client = (*server).clone();
            scope.spawn(move || {
                while client
                    .send("POST", "/execute", Some(br#"{"runtime":"bash","code":"sleep 0.2"}"#))
                    .is_ok()
                {}
            });
        }
        wait_until("some run", || server.traces().programs().len() > 3);
        server.kill();
    });
    server.start_again();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    server.nothing_left(&before);
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
}

#[test]
fn a_one_shot_sandbox_goes_when_its_lease_ends() {
    let server = Server::start_with(&["--lease-oneshot", "2s"]);
    let before = server.traces_at_rest();
    let run = server.create(&json!({"runtime": "bash", "code": "echo ran"}));
    let never_run = server.create(&json!({"runtime": "bash", "code": "echo ran"}));
    assert_eq!(server.run(&run).output(), "ran\n");
    for id in [&run, &never_run] {
        let gone = found(Duration::from_secs(20), || {
            (server.get(&format!("/sandbox/{id}")).status == 404).then_some(())
        });
        assert!(gone.is_ok(), "{id} is still listed");
    }
    server.nothing_left(&before);
}

#[test]
fn a_persistent_sandbox_ends_when_its_lease_ends() {
    let server = Server::start_with(&["--lease-persistent", "2s"]);
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    let ended = found(Duration::from_secs(20), || server.traces().programs().is_empty().then_some(()));
    assert!(ended.is_ok(), "it still runs");
    wait_until("its record says so", || {
        let answer = server.get(&format!("/sandbox/{id}"));
        answer.status == 404 || answer.json()["ended"]["reason"] == "lease_ended"
    });
}

#[test]
fn a_sandbox_says_how_it_ended() {
    let server = Server::start();
    let ended = |program: serde_json::Value| {
        let id = server.create(&program);
        let fresh = server.get(&format!("/sandbox/{id}")).ok();
        assert!(fresh.get("ended").is_none(), "{fresh}");
        let _ = server.run(&id);
        let ended = server.get(&format!("/sandbox/{id}")).ok()["ended"].take();
        assert!(ended["at"].is_string(), "{ended}");
        (ended["reason"].as_str().unwrap().to_owned(), ended["text"].as_str().unwrap().to_owned())
    };
    let is = |reason: &str, text: &str| (reason.to_owned(), text.to_owned());
    let bash = |code: &str| json!({"runtime": "bash", "code": code, "timeout_ms": 1000});
    assert_eq!(ended(bash("exit 0")), is("exited", "exited with status 0"));
    assert_eq!(ended(bash("exit 3")), is("exited", "exited with status 3"));
    assert_eq!(ended(bash("kill -TERM $$")), is("signaled", "was ended by signal 15"));
    assert_eq!(ended(bash("sleep 1000")), is("timed_out", "ran out of time (limit 1000 ms)"));
    let greedy = json!({"runtime": "python", "code": "x = bytearray(10**9)", "memory_limit_mb": 64});
    assert_eq!(ended(greedy), is("out_of_memory", "ran out of memory (limit 64 MiB)"));
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let server = Server::start();
    let output = std::process::Command::new(blackbox::atoll())
        .args(["serve", "--listen", "127.0.0.1:18071", "--no-toolchain-install", "--data-dir"])
        .arg(server.data())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(!output.stderr.is_empty());
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

#[test]
fn stopping_the_server_lets_requests_finish_or_fail_but_never_hang() {
    let mut server = Server::start();
    let client = (*server).clone();
    let request = std::thread::spawn(move || {
        client.send("POST", "/execute", Some(br#"{"runtime":"bash","code":"sleep 1000","timeout_ms":60000}"#))
    });
    wait_until("it runs", || !server.traces().programs().is_empty());
    server.stop();
    let answer = request.join().unwrap();
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status != 200));
    server.start_again();
    assert!(fs::exists(server.data()).unwrap());
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    wait_until("nothing runs", || server.traces().programs().is_empty());
}
