//! Metrics are of what runs now.

use serde_json::{Value, json};

use crate::{http::HttpAgent, wire::eventually};

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
