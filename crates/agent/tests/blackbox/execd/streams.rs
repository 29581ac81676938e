//! Output comes whole and in order, in bounded memory.

use serde_json::json;

use crate::{
    http::{HttpAgent, kinds, texts},
    wire::eventually,
};

/// What the agent may grow by beside output that waits: one line, its event, buffers of a connection.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

#[test]
fn bursts_on_both_streams_come_whole_and_in_order() {
    let agent = HttpAgent::start();
    let script = "seq -f 'out %0200.0f' 22000 & seq -f 'err %0200.0f' 22000 >&2; wait";
    let events = agent.command(&json!({"command": script}));
    for (kind, word) in [("stdout", "out"), ("stderr", "err")] {
        let texts = texts(&events, kind);
        assert_eq!(texts.len(), 22_000);
        for (number, text) in (1..).zip(texts) {
            assert_eq!(text, format!("{word} {number:0200}"));
        }
    }
    assert_eq!(events.last().unwrap()["type"], "execution_complete");
    assert_eq!(events.iter().filter(|event| event["type"] == "execution_complete").count(), 1);
}

#[test]
fn tails_empty_lines_and_what_is_no_utf8_come_as_they_can() {
    let agent = HttpAgent::start();
    let events =
        agent.command(&json!({"command": "printf 'a\\n\\n\\r\\nbé'; printf 'x\\377y\\0z\\n\\360\\237' >&2"}));
    assert_eq!(texts(&events, "stdout"), ["a", "\n", "\r", "bé"]);
    assert_eq!(texts(&events, "stderr"), ["x\u{fffd}y\0z", "\u{fffd}"]);
    let events = agent.command(&json!({"command": "printf 'grüße 🏝'"}));
    assert_eq!(texts(&events, "stdout"), ["grüße 🏝"]);
    let events = agent.command(&json!({"command": "head -c 3000000 /dev/zero | tr '\\0' x"}));
    let lengths: Vec<usize> = texts(&events, "stdout").iter().map(|text| text.len()).collect();
    assert_eq!(lengths, [1 << 20, 1 << 20, 3_000_000 - (2 << 20)]);
}

#[test]
fn a_slow_reader_slows_the_program_and_not_the_agent() {
    let agent = HttpAgent::start();
    agent.command(&json!({"command": "true"}));
    let before = agent.agent.rss_bytes();
    let line = "x".repeat(9_999);
    let mut answer = agent.post("/command", &json!({"command": format!("yes {line} | head -n 10000")}));
    assert_eq!(answer.status, 200);
    let init = answer.chunk();
    let id = serde_json::from_slice::<serde_json::Value>(&init).unwrap()["text"].as_str().unwrap().to_owned();
    // While nothing is read, others are served and the program waits.
    for _ in 0..20 {
        assert_eq!(kinds(&agent.command(&json!({"command": "sleep 0.02"}))), ["init", "execution_complete"]);
    }
    assert_eq!(agent.get(&format!("/command/status/{id}")).json()["running"], true);
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    let mut rest = String::new();
    let mut lines = 0;
    loop {
        let chunk = answer.chunk();
        if chunk.is_empty() {
            break;
        }
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
        let whole = rest.rfind("\n\n").map_or(0, |end| end + 2);
        for event in rest[..whole].split_terminator("\n\n").filter(|event| !event.contains("\"ping\"")) {
            if event.contains("\"stdout\"") {
                assert!(event.contains(&line), "{event}");
                lines += 1;
            }
        }
        rest.drain(..whole);
    }
    assert_eq!(lines, 10_000);
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    eventually("the command is over", || {
        agent.get(&format!("/command/status/{id}")).json()["running"] == false
    });
}

#[test]
fn a_silent_command_keeps_its_stream_alive() {
    let agent = HttpAgent::start();
    let gate = agent.path("gate");
    let script = format!("until [ -e {gate} ]; do sleep 0.01; done");
    let mut answer = agent.post("/command", &json!({"command": script}));
    answer.chunk();
    let ping: serde_json::Value = serde_json::from_slice(&answer.chunk()).unwrap();
    assert_eq!((ping["type"].as_str(), ping["text"].as_str()), (Some("ping"), Some("pong")));
    std::fs::write(gate, "").unwrap();
    assert_eq!(kinds(&answer.events()), ["execution_complete"]);
}
