//! Processes that run on after the answer.

use std::{collections::BTreeSet, fs, io::BufRead};

use serde_json::{Value, json};

use super::{Executor, events};
use crate::wire::{eventually, is_alive};

fn start(executor: &Executor, cmd: &str) -> (String, i64) {
    let answer = executor.post("/start_process", &json!({"cmd": cmd}));
    assert_eq!(answer.status, 201);
    let body = answer.json();
    let keys: BTreeSet<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["id", "pid", "status"]);
    assert_eq!(body["status"], "running");
    (body["id"].as_str().unwrap().to_owned(), body["pid"].as_i64().unwrap())
}

fn entry(executor: &Executor, id: &str) -> Value {
    let list = executor.get("/list_processes").json();
    let all = list["processes"].as_array().unwrap().clone();
    all.into_iter().find(|entry| entry["id"] == id).unwrap()
}

/// The lines of a process's log, to its end: streams and texts.
fn logs(executor: &Executor, id: &str) -> Vec<(String, String)> {
    let mut all = events(executor.get(&format!("/process_logs_streaming?id={id}")));
    assert_eq!(all.pop(), Some(("complete".to_owned(), json!({"message": "stream ended"}))));
    let line = |(name, data): (String, Value)| {
        assert_eq!((name.as_str(), data.as_object().unwrap().len()), ("log", 3), "{data}");
        assert!(data["timestamp"].as_str().unwrap().ends_with('Z'), "{data}");
        (data["stream"].as_str().unwrap().to_owned(), data["data"].as_str().unwrap().to_owned())
    };
    all.into_iter().map(line).collect()
}

#[test]
fn processes_are_listed_with_what_became_of_them() {
    let executor = Executor::start();
    assert_eq!(executor.get("/list_processes").json(), json!({"processes": []}));
    let go = executor.path("go");
    let commands =
        [format!("until test -e {go}; do sleep 0.05; done"), "exit 3".to_owned(), "kill -9 $$".to_owned()];
    let ids: Vec<(String, i64)> = commands.iter().map(|cmd| start(&executor, cmd)).collect();
    let running = entry(&executor, &ids[0].0);
    assert_eq!(
        (&running["status"], &running["pid"], &running["command"]),
        (&json!("running"), &json!(ids[0].1), &json!(commands[0]))
    );
    assert!(running.get("exit_code").is_none() && running.get("completed_at").is_none(), "{running}");
    fs::write(&go, "").unwrap();
    for ((id, _), (status, code)) in ids.iter().zip([("completed", 0), ("failed", 3), ("failed", -1)]) {
        eventually("it ends", || entry(&executor, id)["status"] != "running");
        let ended = entry(&executor, id);
        assert_eq!((&ended["status"], &ended["exit_code"]), (&json!(status), &json!(code)));
        let known = ["id", "command", "status", "pid", "exit_code", "started_at", "completed_at"];
        assert!(ended.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{ended}");
        assert!(ended["started_at"].as_str() <= ended["completed_at"].as_str(), "{ended}");
    }
    let list = executor.get("/list_processes").json();
    let listed: Vec<&str> =
        list["processes"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!(
        listed,
        ids.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        "in the order of their start"
    );
}

#[test]
fn a_process_is_killed_with_its_children() {
    let executor = Executor::start();
    let cmd = "trap '' TERM; sh -c 'echo $$; trap \"\" TERM; sleep 1000 & echo $!; wait' & setsid sleep 1000 & echo $!; wait; wait; sleep 1000";
    let (id, pid) = start(&executor, cmd);
    let mut reader = executor.get(&format!("/process_logs_streaming?id={id}")).reader;
    let mut pids = vec![pid.to_string()];
    while pids.len() < 4 {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0);
        if let Some(data) = line.strip_prefix("data: ") {
            pids.push(serde_json::from_str::<Value>(data).unwrap()["data"].as_str().unwrap().to_owned());
        }
    }
    let killed = json!({"success": true, "message": "Process killed successfully"});
    assert_eq!(executor.ask("/kill_process", &json!({"id": id})), killed);
    for pid in &pids {
        assert!(!is_alive(pid), "{pid}");
    }
    assert_eq!(entry(&executor, &id)["status"], "killed");
    let error = |id: &str, text: &str| {
        let answer = executor.post("/kill_process", &json!({"id": id}));
        assert_eq!((answer.status, answer.json()), (400, json!({"success": false, "error": text})));
    };
    error(&id, "process is not running (status: killed)");
    error("X", "process not found: X");
    let (done, _) = start(&executor, "true");
    eventually("it ends", || entry(&executor, &done)["status"] != "running");
    error(&done, "process is not running (status: completed)");
}

#[test]
fn one_that_ends_itself_when_asked_may_say_goodbye() {
    let executor = Executor::start();
    let (id, _) = start(&executor, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    let mut reader = executor.get(&format!("/process_logs_streaming?id={id}")).reader;
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    assert_eq!(executor.ask("/kill_process", &json!({"id": id}))["success"], true);
    let said = |text: &str| ("stdout".to_owned(), text.to_owned());
    // The shell may tell on its other stream that it was asked.
    let lines: Vec<_> = logs(&executor, &id).into_iter().filter(|(stream, _)| stream == "stdout").collect();
    assert_eq!(lines, [said("ready"), said("bye")]);
    assert_eq!(entry(&executor, &id)["status"], "killed");
}

#[test]
fn logs_begin_with_history_and_go_on_live_for_everybody() {
    let executor = Executor::start();
    let go = executor.path("go");
    let (id, _) = start(
        &executor,
        &format!("echo old; echo err >&2; until test -e {go}; do sleep 0.05; done; printf 'new\\r\\nlast'"),
    );
    eventually("history is there", || {
        let mut reader = executor.get(&format!("/process_logs_streaming?id={id}")).reader;
        let mut seen = 0;
        let mut line = String::new();
        while seen < 2 {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0);
            seen += usize::from(line.starts_with("data: "));
        }
        true
    });
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| logs(&executor, &id))).collect();
        fs::write(&go, "").unwrap();
        for reader in readers {
            let mut lines = reader.join().unwrap();
            lines[..2].sort_unstable();
            let pair = |stream: &str, text: &str| (stream.to_owned(), text.to_owned());
            assert_eq!(
                lines,
                [pair("stderr", "err"), pair("stdout", "old"), pair("stdout", "new"), pair("stdout", "last")]
            );
        }
    });
    let unknown = events(executor.get("/process_logs_streaming?id=X"));
    assert_eq!(unknown, [("error".to_owned(), json!({"error": "process not found: X"}))]);
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_its_begin_is_given_back() {
    let executor = Executor::start();
    let (id, _) = start(
        &executor,
        "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | head -n 600000; head -c 300000 /dev/zero | tr '\\0' e >&2; echo end",
    );
    eventually("it ends", || entry(&executor, &id)["status"] == "completed");
    let lines = logs(&executor, &id);
    assert!(lines.len() < 550_000, "{}", lines.len());
    assert!(lines.contains(&("stdout".to_owned(), "end".to_owned())));
    assert!(lines.iter().any(|(stream, text)| stream == "stderr" && text.len() == 300_000));
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
}
