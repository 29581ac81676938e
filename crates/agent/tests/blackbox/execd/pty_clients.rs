//! A client of `/pty` as small as can be: blocking, and it keeps all that it was shown.

use std::{net::TcpStream, time::Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Error, HandshakeError, Message, WebSocket, client, handshake::client::generate_key, http::Request,
    protocol::CloseFrame,
};

use crate::{
    http::{HttpAgent, TOKEN},
    wire::PATIENCE,
};

/// A client that is attached.
pub(super) struct Client {
    pub(super) socket: WebSocket<TcpStream>,
    /// Standard output and all of a terminal, what was replayed included.
    pub(super) shown: Vec<u8>,
    pub(super) error_output: Vec<u8>,
    /// Where what it was shown ends, by the offsets that it was told.
    pub(super) offset: u64,
    /// How many bytes of `shown` came as a replay.
    pub(super) replayed: usize,
    /// Text messages that were not asked for yet.
    pub(super) told: Vec<Value>,
    /// Pings come for ever, so that waiting needs an end of its own.
    began: Instant,
}

/// What a client finds at the end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit_code: Option<i64>,
    pub(super) close: Option<CloseFrame>,
}

/// Makes a session.
pub(super) fn create(agent: &HttpAgent, body: &Value) -> String {
    let answer = agent.post("/pty", body);
    assert_eq!(answer.status, 201);
    answer.json()["session_id"].as_str().unwrap().to_owned()
}

/// Makes a session with a bash that has no settings of anybody's, and attaches to it.
pub(super) fn bash(agent: &HttpAgent) -> (String, Client) {
    let id = create(agent, &json!({"command": "PS1='> ' exec bash --norc --noprofile -i"}));
    let client = Client::attach(agent, &id, "");
    (id, client)
}

/// The request of a handshake.
pub(super) fn handshake(agent: &HttpAgent, target: &str, token: &str) -> Request<()> {
    Request::builder()
        .uri(format!("ws://{}{target}", agent.address))
        .header("Host", "localhost")
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .header("X-EXECD-ACCESS-TOKEN", token)
        .body(())
        .unwrap()
}

impl Client {
    /// Attaches, with this query.
    pub(super) fn attach(agent: &HttpAgent, id: &str, query: &str) -> Self {
        Self::try_attach(agent, id, query).unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// The same, or the status of the refusal.
    pub(super) fn try_attach(agent: &HttpAgent, id: &str, query: &str) -> Result<Self, u16> {
        let request = handshake(agent, &format!("/pty/{id}/ws?{query}"), TOKEN);
        match client(request, agent.connect()) {
            Ok((socket, _)) => Ok(Self {
                socket,
                shown: Vec::new(),
                error_output: Vec::new(),
                offset: 0,
                replayed: 0,
                told: Vec::new(),
                began: Instant::now(),
            }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    pub(super) fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string()));
    }

    /// Types bytes.
    pub(super) fn type_in(&mut self, bytes: &[u8]) {
        self.send(Message::binary([&[0], bytes].concat()));
    }

    /// Reads the next message; what it shows is kept, what it says is returned.
    pub(super) fn read(&mut self) -> Option<Value> {
        let waited = self.began.elapsed();
        assert!(waited < 3 * PATIENCE, "so far: {:?} {:?}", self.told, String::from_utf8_lossy(&self.shown));
        match self.socket.read().unwrap() {
            Message::Binary(bytes) => {
                match bytes[0] {
                    1 => self.shown.extend(&bytes[1..]),
                    2 => self.error_output.extend(&bytes[1..]),
                    3 => {
                        let offset = u64::from_be_bytes(bytes[1..9].try_into().unwrap());
                        assert!(self.offset == 0 || offset >= self.offset, "{offset} after {}", self.offset);
                        self.offset = offset + bytes.len() as u64 - 9;
                        self.replayed += bytes.len() - 9;
                        self.shown.extend(&bytes[9..]);
                    }
                    kind => panic!("a message of the kind {kind}"),
                }
                None
            }
            Message::Text(text) => Some(serde_json::from_str(&text).unwrap()),
            Message::Ping(_) | Message::Pong(_) => None,
            other => panic!("{other:?}"),
        }
    }

    /// Reads until the text was shown after what was taken before, and takes all up to its end.
    pub(super) fn until(&mut self, text: &str) -> String {
        let wanted = text.as_bytes();
        loop {
            if let Some(at) = self.shown.windows(wanted.len()).position(|window| window == wanted) {
                let taken: Vec<u8> = self.shown.drain(..at + wanted.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            if let Some(message) = self.read() {
                assert_ne!(
                    message["type"],
                    "exit",
                    "before {text:?}: {:?}",
                    String::from_utf8_lossy(&self.shown)
                );
                self.told.push(message);
            }
        }
    }

    /// Reads until something of the type is told.
    pub(super) fn told(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.told.iter().position(|message| message["type"] == kind) {
                return self.told.remove(at);
            }
            let message = self.read();
            self.told.extend(message);
        }
    }

    /// Reads to the end.
    pub(super) fn end(mut self) -> Ended {
        let mut exit_code = None;
        loop {
            match self.socket.read() {
                Ok(Message::Close(close)) => return Ended { exit_code, close },
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    exit_code = message["exit_code"].as_i64().or(exit_code);
                }
                Ok(_) => {}
                Err(error) => panic!("no close came: {error}"),
            }
        }
    }
}
