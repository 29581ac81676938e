//! An HTTP client as small as can be, blocking, that shows what came over the wire.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::wire::{Agent, PATIENCE};

/// The token of the agents that tests start.
pub(crate) const TOKEN: &str = "s3cret-token";

/// An agent that speaks HTTP.
pub(crate) struct HttpAgent {
    pub(crate) agent: Agent,
    pub(crate) address: String,
}

/// An answer whose body is still to be read.
pub(crate) struct Answer<S: Read = TcpStream> {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) reader: BufReader<S>,
}

impl HttpAgent {
    pub(crate) fn start() -> Self {
        Self::with(&["--token", TOKEN], &[])
    }

    pub(crate) fn with(words: &[&str], variables: &[(&str, &str)]) -> Self {
        let (agent, address) = Agent::listen(words, variables);
        Self { agent, address }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request with the token and returns its answer's head.
    pub(crate) fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        self.request_bare(method, target, &format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n{headers}"), body)
    }

    pub(crate) fn request_bare(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&request_bytes(method, target, headers, body)).unwrap();
        Answer::read(stream)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", b"")
    }

    pub(crate) fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target, "", b"")
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.request("POST", target, "Content-Type: application/json\r\n", body.to_string().as_bytes())
    }

    /// Runs a command to its end and returns its events.
    pub(crate) fn command(&self, body: &Value) -> Vec<Value> {
        let answer = self.post("/command", body);
        assert_eq!(answer.status, 200);
        answer.events()
    }

    /// A path in the test's folder, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.agent.path(name).to_str().unwrap().to_owned()
    }
}

pub(crate) fn request_bytes(method: &str, target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if headers.contains("Transfer-Encoding") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

impl<S: Read> Answer<S> {
    pub(crate) fn read(stream: S) -> Self {
        let mut reader = BufReader::new(stream);
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
        });
        let status = lines.next().expect("an answer").split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| {
                line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap()
            })
            .collect();
        Self { status, headers, reader }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The next piece of a chunked body; empty at its end.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        chunk
    }

    /// The whole body; panics if it breaks off.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut body = Vec::new();
        if self.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    return body;
                }
                body.extend(chunk);
            }
        }
        let length: u64 = self.header("content-length").expect("a length").parse().unwrap();
        self.reader.take(length).read_to_end(&mut body).unwrap();
        assert_eq!(body.len() as u64, length);
        body
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    /// All events, each of which must be one line of JSON with an empty line after it.
    pub(crate) fn events(self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let text = self.text();
        let body = text.strip_suffix("\n\n").expect("a whole last event");
        let events = body.split("\n\n").map(|event| serde_json::from_str(event).unwrap());
        let events: Vec<Value> = events.filter(|event: &Value| event["type"] != "ping").collect();
        assert!(events.iter().all(|event| event["timestamp"].is_u64()), "{text}");
        events
    }

    /// Asserts an error's status, code and a part of its message.
    pub(crate) fn assert_error(self, status: u16, code: &str, message: &str) {
        let found = self.status;
        let body = self.json();
        let text = body["message"].as_str().unwrap();
        assert!(
            found == status && body["code"] == code && text.contains(message),
            "{found} {body} is not {status} {code} with {message:?}"
        );
    }
}

/// The kinds of events, in order.
pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The texts of all events of one kind.
pub(crate) fn texts<'a>(events: &'a [Value], kind: &str) -> Vec<&'a str> {
    events.iter().filter(|event| event["type"] == kind).map(|event| event["text"].as_str().unwrap()).collect()
}
