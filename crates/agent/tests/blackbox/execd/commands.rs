//! Commands run as they were asked to, and can be asked after.

use std::{fs, io::Write};

use serde_json::{Value, json};

use crate::{
    http::{HttpAgent, TOKEN, kinds, request_bytes, texts},
    wire::{eventually, is_alive},
};

/// Starts a command in the background and returns its id.
fn background(agent: &HttpAgent, script: &str) -> String {
    let events = agent.command(&json!({"command": script, "background": true}));
    assert_eq!(kinds(&events), ["init", "execution_complete"]);
    events[0]["text"].as_str().unwrap().to_owned()
}

fn status(agent: &HttpAgent, id: &str) -> Value {
    let answer = agent.get(&format!("/command/status/{id}"));
    assert_eq!(answer.status, 200);
    answer.json()
}

fn ended(agent: &HttpAgent, id: &str) -> Value {
    eventually("the command ends", || status(agent, id)["running"] == false);
    status(agent, id)
}

#[test]
fn a_command_that_succeeds_completes_and_one_that_fails_has_an_error() {
    let agent = HttpAgent::start();
    let events = agent.command(&json!({"command": "echo out; echo err >&2"}));
    assert_eq!(
        (events[0]["type"].as_str(), events.last().unwrap()["type"].as_str()),
        (Some("init"), Some("execution_complete"))
    );
    assert_eq!((texts(&events, "stdout"), texts(&events, "stderr")), (vec!["out"], vec!["err"]));
    assert!(events.last().unwrap()["execution_time"].is_u64());
    let id = events[0]["text"].as_str().unwrap();
    assert_eq!(ended(&agent, id)["exit_code"], 0);

    let events = agent.command(&json!({"command": "exit 7"}));
    assert_eq!(kinds(&events), ["init", "error"]);
    let error = &events[1]["error"];
    assert_eq!((error["ename"].as_str(), error["evalue"].as_str()), (Some("CommandExecError"), Some("7")));
    assert!(error["traceback"].is_array());
}

#[test]
fn arguments_are_passed_on_without_a_shell() {
    let agent = HttpAgent::start();
    let events = agent.command(&json!({"argv": ["printf", "%s\\n", "$HOME", "a  b", "*"]}));
    assert_eq!(texts(&events, "stdout"), ["$HOME", "a  b", "*"]);
    agent.post("/command", &json!({"argv": ["no-such-program"]})).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "not found in PATH",
    );
}

#[test]
fn folder_and_variables_are_the_given_ones() {
    let agent = HttpAgent::start();
    fs::create_dir(agent.path("below")).unwrap();
    let events =
        agent.command(&json!({"command": "pwd; echo $A", "cwd": agent.path("below"), "envs": {"A": "b c"}}));
    assert_eq!(texts(&events, "stdout"), [agent.path("below").as_str(), "b c"]);
    let events = agent.command(&json!({"command": "pwd", "cwd": "below"}));
    assert_eq!(texts(&events, "stdout"), [agent.path("below").as_str()]);
    for cwd in ["/no/such", "/etc/passwd", "a\0b"] {
        agent.post("/command", &json!({"command": "true", "cwd": cwd})).assert_error(
            400,
            "INVALID_REQUEST",
            "directory",
        );
    }
    agent.post("/command", &json!({"command": "true", "envs": {"A=B": ""}})).assert_error(
        400,
        "INVALID_REQUEST",
        "A=B",
    );
}

#[test]
fn variables_that_one_command_appends_are_seen_by_the_next() {
    let agent = HttpAgent::start();
    agent.command(&json!({"command": "echo 'KEPT=a b' >> \"$EXECD_ENVS\"; echo 'export OTHER=\"x\"' >> \"$EXECD_ENVS\""}));
    let events = agent.command(&json!({"command": "echo \"$KEPT $OTHER\"", "envs": {"OTHER": "mine"}}));
    assert_eq!(texts(&events, "stdout"), ["a b mine"]);
}

#[test]
fn a_command_runs_as_the_given_user() {
    let agent = HttpAgent::start();
    let request = json!({"command": "id -u; id -g", "cwd": "/", "uid": 12_345, "gid": 23_456});
    if rustix::process::geteuid().is_root() {
        assert_eq!(texts(&agent.command(&request), "stdout"), ["12345", "23456"]);
    } else {
        agent.post("/command", &request).assert_error(400, "INVALID_REQUEST_BODY", "become user 12345");
    }
}

#[test]
fn at_its_time_limit_a_command_and_its_children_are_killed() {
    let agent = HttpAgent::start();
    let pid_file = agent.path("pid");
    let script = format!("sleep 1000 & echo $! > {pid_file}; wait");
    let events = agent.command(&json!({"command": script, "timeout": 300}));
    assert_eq!(kinds(&events), ["init", "error"]);
    assert_eq!(events[1]["error"]["evalue"], "-1");
    let child = fs::read_to_string(pid_file).unwrap();
    eventually("the child is killed", || !is_alive(&child));
}

#[test]
fn a_background_command_is_asked_after_until_it_ends() {
    let agent = HttpAgent::start();
    let gate = agent.path("gate");
    let id = background(&agent, &format!("echo begun; until [ -e {gate} ]; do sleep 0.01; done; exit 4"));
    let found = status(&agent, &id);
    assert_eq!(
        (&found["running"], &found["exit_code"], &found["finished_at"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    assert!(found["content"].as_str().unwrap().starts_with("echo begun"));
    fs::write(gate, "").unwrap();
    let found = ended(&agent, &id);
    assert_eq!((&found["exit_code"], &found["error"]), (&json!(4), &json!("exit status 4")));
    assert!(found["finished_at"].as_str() > found["started_at"].as_str(), "{found}");
    for target in ["/command/status/nope", "/command/status/00000000-0000-4000-8000-000000000000"] {
        agent.get(target).assert_error(404, "NOT_FOUND", "no command");
    }
}

#[test]
fn logs_go_on_from_a_cursor() {
    let agent = HttpAgent::start();
    let id = background(&agent, "seq 100000; printf unterminated >&2");
    ended(&agent, &id);
    let whole: String = (1..=100_000).map(|line| format!("{line}\n")).collect::<String>() + "unterminated\n";
    for (query, from) in [
        ("", 0),
        ("?cursor=0", 0),
        ("?cursor=77777", 77_777),
        ("?cursor=100001", 100_001),
        ("?cursor=5000000", 100_001),
    ] {
        let answer = agent.get(&format!("/command/{id}/logs{query}"));
        assert_eq!(answer.header("execd-commands-tail-cursor"), Some("100001"));
        let expected: String = whole.split_inclusive('\n').skip(from).collect();
        assert!(answer.text() == expected, "{query}");
    }
    assert!(agent.get(&format!("/command/output/{id}")).text() == whole);
    for cursor in ["-1", "x", ""] {
        agent.get(&format!("/command/{id}/logs?cursor={cursor}")).assert_error(
            400,
            "INVALID_QUERY",
            "cursor",
        );
    }
    let events = agent.command(&json!({"command": "true"}));
    let id = events[0]["text"].as_str().unwrap();
    agent.get(&format!("/command/{id}/logs")).assert_error(400, "INVALID_QUERY", "foreground");
}

#[test]
fn an_interrupt_ends_a_command_that_can_tidy_up() {
    let agent = HttpAgent::start();
    let ready = agent.path("ready");
    let id = background(
        &agent,
        &format!("trap 'echo tidied; exit 9' TERM; touch {ready}; while :; do sleep 0.01; done"),
    );
    eventually("the trap is set", || fs::exists(&ready).unwrap());
    assert_eq!(agent.delete(&format!("/command?id={id}")).status, 200);
    assert_eq!(ended(&agent, &id)["exit_code"], 9);
    assert!(agent.get(&format!("/command/{id}/logs")).text().contains("tidied"));
    assert_eq!(agent.delete(&format!("/command?id={id}")).status, 200, "it has ended already");
    agent.delete("/command?id=nope").assert_error(404, "NOT_FOUND", "no command");
    agent.delete("/command").assert_error(400, "MISSING_QUERY", "id");
}

#[test]
fn an_interrupt_that_is_ignored_kills() {
    let agent = HttpAgent::start();
    let ready = agent.path("ready");
    let script = format!(
        "trap '' TERM; (trap '' TERM; touch {ready}; while :; do sleep 1; done) & wait; while :; do sleep 1; done"
    );
    let id = background(&agent, &script);
    eventually("the traps are set", || fs::exists(&ready).unwrap());
    assert_eq!(agent.delete(&format!("/command?id={id}")).status, 200);
    assert_eq!(ended(&agent, &id)["exit_code"], -1);
    eventually("nothing of it is left", || agent.agent.children().is_empty());
}

#[test]
fn a_client_that_disappears_leaves_its_command_running() {
    let agent = HttpAgent::start();
    let (gate, done) = (agent.path("gate"), agent.path("done"));
    // More than fits in any buffer is written while nobody reads.
    let script = format!("echo begun; until [ -e {gate} ]; do sleep 0.01; done; seq 1000000; touch {done}");
    let body = json!({"command": script}).to_string();
    let mut stream = agent.connect();
    let token = format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n");
    stream.write_all(&request_bytes("POST", "/command", &token, body.as_bytes())).unwrap();
    let mut answer = crate::http::Answer::read(stream);
    let init: Value = serde_json::from_slice(&answer.chunk()).unwrap();
    drop(answer);
    fs::write(gate, "").unwrap();
    let id = init["text"].as_str().unwrap();
    assert_eq!(ended(&agent, id)["exit_code"], 0);
    assert!(fs::exists(done).unwrap());
}
