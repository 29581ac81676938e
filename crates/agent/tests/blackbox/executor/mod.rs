//! The executor over HTTP, with real programs and files. One module per promise.

mod doors;
mod files;
mod first_process;
mod folders;
mod inside;
mod names;
mod ports;
mod processes;
mod run;
mod streaming;

use std::{io::Write, net::TcpStream};

use serde_json::{Value, json};

use crate::{
    http::{Answer, request_bytes},
    wire::{Agent, PATIENCE},
};

const AGENT: &str = env!("CARGO_BIN_EXE_atoll-agent");

/// An agent that serves the executor.
struct Executor {
    agent: Agent,
    ports: [u16; 2],
}

impl Executor {
    fn start() -> Self {
        Self::with(&[AGENT, "executor"], &[])
    }

    fn with(command: &[&str], variables: &[(&str, &str)]) -> Self {
        let (agent, ports) = Agent::executor(command, variables);
        Self { agent, ports }
    }

    fn connect(&self) -> TcpStream {
        connect(self.ports[0])
    }

    /// Connects to what the executor shows.
    fn proxy(&self) -> TcpStream {
        connect(self.ports[1])
    }

    fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request_bytes(method, target, headers, body)).unwrap();
        Answer::read(stream)
    }

    fn get(&self, target: &str) -> Answer {
        self.request("GET", target, BEARER, b"")
    }

    fn post(&self, target: &str, body: &Value) -> Answer {
        self.request("POST", target, BEARER, body.to_string().as_bytes())
    }

    /// The value of an answer of status 200.
    fn ask(&self, target: &str, body: &Value) -> Value {
        let answer = self.post(target, body);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json")),
            "{target}"
        );
        answer.json()
    }

    fn run(&self, cmd: &str) -> Value {
        self.ask("/run", &json!({"cmd": cmd}))
    }

    /// The events of a command: their names and data.
    fn stream(&self, cmd: &str) -> Vec<(String, Value)> {
        events(self.post("/run_streaming", &json!({"cmd": cmd})))
    }

    /// A path in the test's folder, as text.
    fn path(&self, name: &str) -> String {
        self.agent.path(name).to_str().unwrap().to_owned()
    }
}

const BEARER: &str = "Authorization: Bearer s3cret\r\n";

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All events of an answer, each of which must be spelled as clients read it.
fn events(answer: Answer) -> Vec<(String, Value)> {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let text = answer.text();
    assert!(!text.contains('\r'), "LF only");
    let body = text.strip_suffix("\n\n").expect("a whole last event");
    body.split("\n\n").map(event).collect()
}

fn event(text: &str) -> (String, Value) {
    let (name, data) = text.split_once('\n').expect("two lines");
    let name = name.strip_prefix("event: ").expect("a name");
    (name.to_owned(), serde_json::from_str(data.strip_prefix("data: ").expect("data")).unwrap())
}

/// Asserts an answer's status and text.
fn is_text(answer: Answer, status: u16, text: &str) {
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{text}");
    assert_eq!((answer.status, answer.text().as_str()), (status, text));
}
