//! Contexts: code that finds what code before it left.

mod contexts;
mod ends;
mod interrupts;
mod javascript;
mod libraries;
mod outputs;
mod port;
mod python;
mod shell;

use std::thread;

use serde_json::{Value, json};

use crate::http::{Answer, HttpAgent};

/// Makes a context and returns its id.
pub(super) fn create(agent: &HttpAgent, language: &str) -> String {
    let answer = agent.post("/code/context", &json!({"language": language}));
    assert_eq!(answer.status, 200);
    let made = answer.json();
    assert_eq!(made["language"], language);
    made["id"].as_str().unwrap().to_owned()
}

/// Begins to run code in a context.
pub(super) fn begin(agent: &HttpAgent, id: &str, code: &str) -> Answer {
    let answer = agent.post("/code", &json!({"context": {"id": id}, "code": code}));
    assert_eq!(answer.status, 200);
    answer
}

/// Runs code in a context and returns what came after the first two events.
pub(super) fn run(agent: &HttpAgent, id: &str, code: &str) -> Vec<Value> {
    let mut events = begin(agent, id, code).events();
    assert_eq!((&events[0]["type"], &events[0]["text"]), (&json!("init"), &json!(id)));
    assert_eq!(events[1]["type"], "execution_count");
    events.drain(..2);
    let is_end = |event: &Value| event["type"] == "execution_complete" || event["type"] == "error";
    let (last, others) = events.split_last().unwrap();
    assert!(is_end(last) && !others.iter().any(is_end), "{events:?}");
    events
}

/// Runs code that must succeed and returns its last result's text.
pub(super) fn value(agent: &HttpAgent, id: &str, code: &str) -> String {
    let events = run(agent, id, code);
    assert_eq!(events.last().unwrap()["type"], "execution_complete", "{code}: {events:?}");
    let result = events.iter().rfind(|event| event["type"] == "result");
    result.map_or(String::new(), |event| event["results"]["text"].as_str().unwrap().to_owned())
}

/// Runs code that must fail and returns the error.
pub(super) fn error(agent: &HttpAgent, id: &str, code: &str) -> Value {
    let events = run(agent, id, code);
    let last = events.last().unwrap();
    assert_eq!(last["type"], "error", "{code}: {events:?}");
    last["error"].clone()
}

/// All that code writes to a stream.
pub(super) fn written(events: &[Value], kind: &str) -> String {
    crate::http::texts(events, kind).concat()
}

/// Runs code, interrupts it as soon as it has written "on", and returns how it ended.
pub(super) fn interrupted(agent: &HttpAgent, id: &str, code: &str) -> Value {
    let mut answer = begin(agent, id, code);
    let mut read = String::new();
    while !read.contains("\"text\":\"on") {
        read.push_str(std::str::from_utf8(&answer.chunk()).unwrap());
    }
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(agent.delete(&format!("/code?id={id}")).status, 200));
        answer.events().last().unwrap()["error"].clone()
    })
}
