//! Commands, processes, and the machine.

use std::thread;

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

use super::{execute, session_create};

#[test]
fn a_command_runs_without_a_shell() {
    let server = Server::start();
    let id = session_create(&server);
    let ran = execute(&server, &id, &["printf", "%s|", "$HOME", "a b", ";ls", "*", "'"]);
    assert_eq!(ran, json!({"stdout": "$HOME|a b|;ls|*|'|", "stderr": "", "exitCode": 0}));
    let ran = execute(&server, &id, &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(ran, json!({"stdout": "out\n", "stderr": "err\n", "exitCode": 7}));
    let ran = execute(&server, &id, &["sh", "-c", "kill -9 $$"]);
    assert_eq!(ran["exitCode"], 128 + 9);
    let ran = execute(&server, &id, &["printf", r"a\377b"]);
    assert_eq!(ran["stdout"], "a\u{fffd}b");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let server = Server::start();
    let id = session_create(&server);
    let post =
        |command: &str| server.post(&format!("/api/execute/{id}"), &json!({"command": command})).error(400);
    assert_eq!(post("no-such-program"), "Program not found: no-such-program");
    assert_eq!(post("/no/such"), "Program not found: /no/such");
    assert!(post("/etc/passwd").contains("/etc/passwd"));
}

#[test]
fn a_command_has_its_time() {
    let server = Server::start_with(&["--session-command-timeout", "1s"]);
    let id = session_create(&server);
    let ran = execute(&server, &id, &["sh", "-c", "echo begun; sleep 1000"]);
    assert_eq!(ran, json!({"stdout": "begun\n", "stderr": "Command timed out\n", "exitCode": 124}));
}

#[test]
fn processes_are_listed_while_they_run() {
    let server = Server::start();
    let id = session_create(&server);
    let listed = || server.get(&format!("/api/processes/{id}")).ok().as_array().unwrap().clone();
    let python =
        |all: &[Value]| all.iter().find(|it| it["command"].as_str().unwrap().contains("bytearray")).cloned();
    assert_eq!(python(&listed()), None);
    let program = "b = bytearray(b'x' * (64 << 20))\nopen('up', 'w')\nwhile True: pass";
    thread::scope(|scope| {
        scope.spawn(|| execute(&server, &id, &["python3", "-c", program]));
        let mut found = Value::Null;
        wait_until("it is up and at work", || {
            found = python(&listed()).unwrap_or_default();
            found["memoryUsage"].as_f64() > Some(60.0) && found["cpuUsage"].as_f64() > Some(1.0)
        });
        assert_eq!((&found["sessionId"], &found["status"]), (&json!(id), &json!("running")), "{found}");
        assert!(found["name"].as_str().unwrap().starts_with("python3"), "{found}");
        assert!(found["startedAt"].as_str().unwrap().ends_with('Z'), "{found}");
        assert_eq!(found["id"], found["pid"]);
        execute(&server, &id, &["kill", "-9", &found["pid"].to_string()]);
    });
    wait_until("it is gone", || python(&listed()).is_none());
}

#[test]
fn the_machines_figures_are_real() {
    let server = Server::start();
    let stats = server.get("/api/system/stats").ok();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total_kb: u64 = meminfo.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(stats["memory"]["total"], total_kb >> 10);
    for part in ["memory", "disk"] {
        let [used, total] = ["used", "total"].map(|it| stats[part][it].as_u64().unwrap());
        assert!(used > 0 && used < total, "{part}: {stats}");
    }
    assert!(stats["processes"].as_u64() > Some(2), "{stats}");
    assert!((0.0..=100.0).contains(&stats["cpu"].as_f64().unwrap()), "{stats}");
}
