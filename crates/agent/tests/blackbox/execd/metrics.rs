//! Metrics are of what runs now.

use std::io::Write;

use protocol::{
    agent::{Event, HttpDialect, Request},
    limits::Limits,
};
use serde_json::{Value, json};

use crate::{
    http::{Answer, HttpAgent, request_bytes},
    wire::{Agent, eventually},
};

fn check(metrics: &Value) {
    let number = |name: &str| metrics[name].as_f64().unwrap_or_else(|| panic!("{name} in {metrics}"));
    assert!(number("cpu_count") > 0.0, "{metrics}");
    assert!((0.0..=100.0).contains(&number("cpu_used_pct")), "{metrics}");
    assert!(number("mem_used_mib") > 0.0 && number("mem_used_mib") <= number("mem_total_mib"), "{metrics}");
    assert!(metrics["timestamp"].is_u64(), "{metrics}");
}

#[test]
fn a_busy_program_shows() {
    let agent = HttpAgent::start();
    check(&agent.get("/metrics").json());
    agent.command(&json!({"command": "while :; do :; done", "background": true}));
    eventually("the processor is used", || {
        let metrics = agent.get("/metrics").json();
        check(&metrics);
        metrics["cpu_used_pct"].as_f64().unwrap() > 5.0
    });
}

#[test]
fn behind_a_server_they_are_the_sandboxs() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let limits = Limits { cpu_millis: 250, memory_bytes: 48 << 20, ..Limits::default() };
    let cwd = protocol::GuestPath::absolute("/").unwrap();
    assert_eq!(
        connection.ask(&Request::Http {
            dialect: HttpDialect::Execd,
            limits,
            env: Vec::new(),
            cwd,
            user: None
        }),
        Event::Done
    );
    connection.stream.write_all(&request_bytes("GET", "/metrics", "", b"")).unwrap();
    let metrics = Answer::read(connection.stream).json();
    check(&metrics);
    assert_eq!((metrics["cpu_count"].as_f64(), metrics["mem_total_mib"].as_f64()), (Some(0.25), Some(48.0)));
}

#[test]
fn a_watcher_is_told_again_and_again() {
    let agent = HttpAgent::start();
    let mut answer = agent.get("/metrics/watch");
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let mut last = 0;
    for _ in 0..3 {
        let event: Value = serde_json::from_slice(&answer.chunk()).unwrap();
        check(&event);
        let timestamp = event["timestamp"].as_u64().unwrap();
        assert!(timestamp > last);
        last = timestamp;
    }
}
