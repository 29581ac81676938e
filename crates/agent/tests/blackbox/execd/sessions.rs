//! A session keeps what a shell keeps.

use std::fs;

use serde_json::{Value, json};

use crate::{
    http::{HttpAgent, kinds, texts},
    wire::eventually,
};

fn create(agent: &HttpAgent, body: &Value) -> String {
    let answer = agent.post("/session", body);
    assert_eq!(answer.status, 200);
    answer.json()["session_id"].as_str().unwrap().to_owned()
}

fn run_with(agent: &HttpAgent, id: &str, body: &Value) -> Vec<Value> {
    let answer = agent.post(&format!("/session/{id}/run"), body);
    assert_eq!(answer.status, 200);
    answer.events()
}

/// Runs code and returns its standard output's lines.
fn run(agent: &HttpAgent, id: &str, code: &str) -> Vec<String> {
    let events = run_with(agent, id, &json!({"command": code}));
    texts(&events, "stdout").iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn variables_functions_options_and_the_folder_stay() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({}));
    let other = create(&agent, &json!({}));
    run(
        &agent,
        &id,
        "A='one  two\n$x'; export B=3; c=(x 'y z'); declare -A d=([k]='v w'); f() { echo \"f $1 $A\"; }",
    );
    run(&agent, &id, "shopt -s expand_aliases extglob; alias hi='echo hi'; set -o pipefail; readonly R=9");
    run(&agent, &id, "mkdir -p 'a b' && cd 'a b'");
    assert_eq!(run(&agent, &id, "f 1"), ["f 1 one  two", "$x"]);
    assert_eq!(
        run(&agent, &id, "echo ${c[1]} ${#c[@]} ${d[k]} $R; sh -c 'echo $B$A'; hi"),
        ["y z 2 v w 9", "3", "hi"]
    );
    assert_eq!(run(&agent, &id, "false | true; echo $?; pwd; echo $#"), ["1", &agent.path("a b"), "0"]);
    assert_eq!(run(&agent, &other, "echo ${A-none}; pwd"), ["none", agent.path("").trim_end_matches('/')]);
}

#[test]
fn a_run_that_exits_or_fails_leaves_the_session_usable() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({"cwd": "/"}));
    for (code, value) in [("A=1; exit 7", "7"), ("A=$((A + 1)); false", "1"), ("if", "2")] {
        let events = run_with(&agent, &id, &json!({"command": code}));
        assert_eq!(events.last().unwrap()["error"]["evalue"], value, "{events:?}");
    }
    let events = run_with(&agent, &id, &json!({"command": "A=9; sleep 100", "timeout": 200}));
    assert_eq!(events.last().unwrap()["error"]["evalue"], "-1");
    assert_eq!(run(&agent, &id, "echo $A; pwd"), ["2", "/"]);
    run(&agent, &id, "set -eu; cd /usr");
    let events = run_with(&agent, &id, &json!({"command": "B=kept; false; echo never"}));
    assert_eq!(kinds(&events), ["init", "error"]);
    assert_eq!(run(&agent, &id, "echo $B; pwd"), ["kept", "/usr"]);
}

#[test]
fn the_folder_of_one_run_does_not_stay() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({"cwd": "/usr"}));
    assert_eq!(texts(&run_with(&agent, &id, &json!({"command": "pwd", "cwd": "/etc"})), "stdout"), ["/etc"]);
    assert_eq!(run(&agent, &id, "pwd"), ["/usr"]);
    run_with(&agent, &id, &json!({"command": "cd ..", "cwd": "/usr/bin"}));
    run_with(&agent, &id, &json!({"command": "cd /", "cwd": "/etc"}));
    assert_eq!(run(&agent, &id, "pwd"), ["/"]);
    agent.post(&format!("/session/{id}/run"), &json!({"command": "pwd", "cwd": "/no/such"})).assert_error(
        400,
        "INVALID_REQUEST",
        "/no/such",
    );
    agent.post("/session", &json!({"cwd": "/no/such"})).assert_error(400, "INVALID_REQUEST", "/no/such");
}

#[test]
fn a_session_runs_one_command_at_a_time_until_it_is_deleted() {
    let agent = HttpAgent::start();
    // Without a body.
    let id = agent.request("POST", "/session", "", b"").json()["session_id"].as_str().unwrap().to_owned();
    let ready = agent.path("ready");
    let target = format!("/session/{id}/run");
    let running = agent.post(&target, &json!({"command": format!("touch {ready}; sleep 1000")}));
    eventually("it runs", || fs::exists(&ready).unwrap());
    agent.post(&target, &json!({"command": "true"})).assert_error(409, "CONFLICT", "runs a command");
    assert_eq!(agent.delete(&format!("/session/{id}")).status, 200);
    let events = running.events();
    assert_eq!(kinds(&events).last(), Some(&"error"));
    agent.post(&target, &json!({"command": "true"})).assert_error(404, "NOT_FOUND", "no session");
    agent.delete(&format!("/session/{id}")).assert_error(404, "NOT_FOUND", "no session");
    agent.delete("/session/nope").assert_error(404, "NOT_FOUND", "no session");
    let left = fs::read_dir(agent.path("")).unwrap().flatten();
    assert_eq!(
        left.filter(|entry| entry.file_name().to_string_lossy().starts_with("atoll-session")).count(),
        0
    );
}

#[test]
fn what_is_no_run_is_refused() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({}));
    let target = format!("/session/{id}/run");
    agent.post(&target, &json!({})).assert_error(400, "INVALID_REQUEST_BODY", "command");
    agent.post(&target, &json!({"command": ""})).assert_error(400, "INVALID_REQUEST_BODY", "empty");
    agent.post(&target, &json!({"command": "true", "timeout": -1})).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "invalid value",
    );
    agent.post("/session", &json!([])).assert_error(400, "INVALID_REQUEST_BODY", "invalid length");
}
