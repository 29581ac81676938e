//! Sessions come, rest, wake, survive and end.

use std::{collections::BTreeSet, time::Duration};

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

use super::{execute, output, session_create, write};

#[test]
fn a_session_is_as_documented() {
    let server = Server::start();
    let made = server.post("/api/sessions", &json!({"userId": "u-1", "status": "active"})).ok();
    let keys: BTreeSet<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["createdAt", "id", "lastActivity", "status", "userId"]));
    assert_eq!((&made["userId"], &made["status"]), (&json!("u-1"), &json!("active")));
    let id = made["id"].as_str().unwrap();
    let parts: Vec<&str> = id.split('_').collect();
    let [word, millis, random] = parts[..] else { panic!("{id}") };
    assert_eq!(word, "session");
    assert!(millis.len() == 13 && millis.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
    // 25 digits of base 36 are more than 128 bits.
    assert!(
        random.len() >= 25 && random.bytes().all(|it| it.is_ascii_digit() || it.is_ascii_lowercase()),
        "{id}"
    );
    let found = server.get(&format!("/api/sessions/{id}")).ok();
    assert_eq!((&found["id"], &found["createdAt"]), (&made["id"], &made["createdAt"]));
    assert_eq!(server.post("/api/sessions", &json!({})).ok()["userId"], Value::Null);
    assert_eq!(server.get("/api/sessions/session_1_x").error(404), "Session not found");
}

#[test]
fn every_call_is_activity() {
    let server = Server::start();
    let id = session_create(&server);
    let mut last = String::new();
    let mut moved = |what: &str| {
        let now =
            server.get(&format!("/api/sessions/{id}")).ok()["lastActivity"].as_str().unwrap().to_owned();
        assert!(now > last, "{what}: {last} {now}");
        last = now;
        std::thread::sleep(Duration::from_millis(2));
    };
    moved("made");
    moved("looked at");
    let _ = output(&server, &id, "true");
    moved("executed");
}

#[test]
fn a_session_is_a_sandbox_and_survives_the_server() {
    let mut server = Server::start();
    let id = session_create(&server);
    write(&server, &id, "kept.txt", "kept");
    let _ = server.post(&format!("/api/env/{id}"), &json!({"key": "KEPT", "value": "too"})).ok();
    let sandboxes = server.get("/sandboxes").ok();
    assert_eq!(sandboxes.as_array().unwrap().len(), 1, "other dialects show it: {sandboxes}");
    let before = server.get(&format!("/api/sessions/{id}")).ok();
    for kill in [false, true] {
        if kill {
            server.kill();
        } else {
            server.stop();
        }
        server.start_again();
        let after = server.get(&format!("/api/sessions/{id}")).ok();
        assert_eq!((&after["createdAt"], &after["status"]), (&before["createdAt"], &json!("active")));
        assert_eq!(output(&server, &id, "cat kept.txt; echo $KEPT"), "kepttoo\n");
    }
    let sandbox = server.get("/sandboxes").ok()[0]["id"].as_str().unwrap().to_owned();
    server.remove(&sandbox);
    assert_eq!(server.get(&format!("/api/sessions/{id}")).error(404), "Session not found");
}

#[test]
fn an_idle_session_is_paused_and_the_next_call_resumes_it() {
    let server = Server::start_with(&["--session-idle-pause", "1s"]);
    let id = session_create(&server);
    let started = execute(&server, &id, &["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]);
    let pid = started["stdout"].as_str().unwrap().trim().to_owned();
    // To look at it counts as activity, so the trail is looked at.
    let trail = || server.get("/admin/api/events").ok().to_string();
    wait_until("it is paused", || trail().contains("sandbox.paused"));
    assert_eq!(server.get(&format!("/api/sessions/{id}")).ok()["status"], "paused", "a look wakes nothing");
    assert_eq!(output(&server, &id, &format!("kill -0 {pid}; echo there")), "there\n", "as it was");
    assert_eq!(server.get(&format!("/api/sessions/{id}")).ok()["status"], "active");
}

#[test]
fn a_session_that_nobody_uses_ends() {
    let server = Server::start_with(&["--session-lease", "2s"]);
    let id = session_create(&server);
    let ended = || server.get("/sandboxes").ok()[0].to_string();
    let running = ended();
    wait_until("it has ended", || ended() != running && !ended().contains("running"));
    assert_eq!(server.get(&format!("/api/sessions/{id}")).ok()["status"], "ended");
    let body = json!({"command": "true"});
    assert_eq!(server.post(&format!("/api/execute/{id}"), &body).error(409), "Session has ended");
    assert_eq!(server.get(&format!("/api/files/{id}/tree")).error(409), "Session has ended");
}

#[test]
fn a_session_whose_processes_are_all_gone_begins_anew_with_its_files() {
    let server = Server::start();
    let id = session_create(&server);
    write(&server, &id, "f", "there");
    let sandbox = server.get("/sandboxes").ok()[0]["id"].as_str().unwrap().to_owned();
    let started = execute(&server, &id, &["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
    assert_eq!(started["exitCode"], 0);
    let agent = server.agent_of("sleep").expect("its agent is a process of the host");
    rustix::process::kill_process(agent, rustix::process::Signal::KILL).unwrap();
    wait_until("its end is noticed", || {
        server.get(&format!("/api/sessions/{id}")).ok()["status"] == "paused"
    });
    assert_eq!(output(&server, &id, "cat f"), "there");
    assert_eq!(server.get("/sandboxes").ok()[0]["id"], sandbox.as_str());
}
