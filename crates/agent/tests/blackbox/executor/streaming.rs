//! Commands whose output is sent while they run.

use std::{
    fs,
    io::{BufRead, Read},
};

use serde_json::{Value, json};

use super::Executor;
use crate::wire::{eventually, is_alive};

fn output(stream: &str, data: &str) -> (String, Value) {
    ("output".to_owned(), json!({"stream": stream, "data": data}))
}

fn complete(code: i32) -> (String, Value) {
    ("complete".to_owned(), json!({"code": code, "error": code != 0}))
}

#[test]
fn each_line_is_an_event() {
    let executor = Executor::start();
    let events = executor
        .stream("printf 'a\\r\\n\\n b \\n'; sleep 0.2; echo err >&2; sleep 0.2; printf 'last\\377'; exit 4");
    assert_eq!(
        events,
        [
            output("stdout", "a"),
            output("stdout", ""),
            output("stdout", " b "),
            output("stderr", "err"),
            output("stdout", "last\u{fffd}"),
            complete(4),
        ]
    );
    assert_eq!(executor.stream(""), [complete(0)]);
    assert_eq!(executor.stream("kill -9 $$"), [complete(-1)]);
}

#[test]
fn no_text_can_end_a_line_of_the_stream() {
    let executor = Executor::start();
    let text = "a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{1c}f\rg";
    fs::write(executor.agent.path("text"), text).unwrap();
    let answer = executor.post("/run_streaming", &json!({"cmd": "cat text"}));
    let body = answer.text();
    assert!(!body.contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{1c}', '\r']), "{body}");
    let (_, data) = super::event(body.split("\n\n").next().unwrap());
    assert_eq!(data["data"], text);
}

#[test]
fn a_line_comes_when_it_is_written() {
    let executor = Executor::start();
    let go = executor.path("go");
    let cmd = format!("echo first; until test -e {go}; do sleep 0.05; done; echo second");
    let mut answer = executor.post("/run_streaming", &json!({"cmd": cmd}));
    assert!(String::from_utf8(answer.chunk()).unwrap().contains("first"));
    fs::write(&go, "").unwrap();
    assert!(String::from_utf8(answer.chunk()).unwrap().contains("second"));
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_event_in_little_memory() {
    let executor = Executor::start();
    let cmd = "head -c 100000000 /dev/zero | tr '\\0' x; echo; head -c 200000 /dev/zero | tr '\\0' e >&2; echo; echo after";
    let events = executor.stream(cmd);
    assert_eq!(events.last().unwrap(), &complete(0));
    let long: Vec<&str> = events
        .iter()
        .filter_map(|(_, data)| data["data"].as_str())
        .filter(|text| text.len() > 300_000)
        .collect();
    assert_eq!(long.iter().map(|text| text.len()).collect::<Vec<_>>(), [100_000_000]);
    let errors = events.iter().find(|(_, data)| data["stream"] == "stderr").unwrap();
    assert_eq!(errors.1["data"].as_str().unwrap().len(), 200_000);
    assert!(events.contains(&output("stdout", "after")));
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
}

#[test]
fn many_lines_come_whole() {
    let executor = Executor::start();
    let answer = executor.post(
        "/run_streaming",
        &json!({"cmd": "yes 123456789012345678901234567890123456789 | head -c 20000000"}),
    );
    let mut body = Vec::new();
    body.extend(answer.bytes());
    let lines = memchr_count(&body, b"\"123456789012345678901234567890123456789\"");
    assert_eq!(lines, 500_000);
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
}

fn memchr_count(body: &[u8], text: &[u8]) -> usize {
    body.split(|byte| *byte == b'\n').filter(|line| line.windows(text.len()).any(|part| part == text)).count()
}

#[test]
fn who_does_not_read_slows_the_command_and_costs_no_memory() {
    let executor = Executor::start();
    let mut answer = executor.post("/run_streaming", &json!({"cmd": "yes & yes >&2 & wait"}));
    let mut some = [0; 1000];
    answer.reader.read_exact(&mut some).unwrap();
    for _ in 0..20 {
        assert_eq!(executor.run("true")["code"], 0);
    }
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
}

#[test]
fn a_client_that_goes_away_ends_its_command_and_its_children() {
    let executor = Executor::start();
    gone_ends(
        &executor,
        "sleep 1000 & echo $!; setsid sh -c 'echo $$; trap \"\" TERM; sleep 1000 & echo $!; wait' & echo $$; wait",
        4,
    );
}

#[test]
fn a_client_that_goes_away_while_much_is_written_ends_its_command() {
    let executor = Executor::start();
    gone_ends(&executor, "echo $$; while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", 1);
}

/// Reads so many process ids, goes away, and waits until none of them lives.
pub(super) fn gone_ends(executor: &Executor, cmd: &str, count: usize) {
    let answer = executor.post("/run_streaming", &json!({"cmd": cmd}));
    assert_eq!(answer.status, 200);
    let mut pids = Vec::new();
    let mut reader = answer.reader;
    while pids.len() < count {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            pids.push(data["data"].as_str().unwrap().to_owned());
        }
    }
    drop(reader);
    if executor.sees_processes() {
        for pid in &pids {
            eventually("it has ended", || !is_alive(pid));
        }
    } else {
        let script = format!(
            "for pid in {}; do grep -qs '^State:[[:space:]]*[^Z]' /proc/$pid/status && echo $pid; done; true",
            pids.join(" ")
        );
        eventually("they have ended", || executor.run(&script)["stdout"] == "");
    }
}
