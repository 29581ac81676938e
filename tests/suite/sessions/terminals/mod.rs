//! Terminals over the WebSocket: what the kernel calls a terminal, whole, for as many as there are.

mod flow;
mod many;
mod reattach;
mod screen;
mod talk;

use std::net::SocketAddr;

use blackbox::{Incoming, Server, Socket};
use serde_json::{Value, json};

/// A new session's id.
fn session(server: &Server) -> String {
    server.post_empty("/api/sessions").ok()["id"].as_str().unwrap().to_owned()
}

fn connect(address: SocketAddr, session: &str) -> Socket {
    Socket::connect(address, &format!("/ws?sessionId={session}"))
}

/// Somebody before a terminal, alone on a connection.
struct Person {
    socket: Socket,
    terminal: String,
    /// What was shown and not looked for yet.
    shown: String,
}

impl Person {
    fn sit_down(server: &Server, session: &str) -> Self {
        Self::create(connect(server.address(), session), &json!({"type": "terminal:create"}))
    }

    fn sit_down_before(server: &Server, session: &str, terminal: &str) -> Self {
        let create = json!({"type": "terminal:create", "terminalId": terminal});
        let person = Self::create(connect(server.address(), session), &create);
        assert_eq!(person.terminal, terminal);
        person
    }

    fn create(mut socket: Socket, create: &Value) -> Self {
        socket.send(create);
        let (mut terminal, mut shown) = (None, String::new());
        // What it showed before may come at once.
        while terminal.is_none() {
            let message = socket.json();
            match message["type"].as_str().unwrap() {
                "terminal:created" => terminal = message["terminalId"].as_str().map(str::to_owned),
                "terminal:data" => shown.push_str(message["data"].as_str().unwrap()),
                _ => panic!("{message}"),
            }
        }
        Self { socket, terminal: terminal.unwrap(), shown }
    }

    fn say(&mut self, kind: &str, more: &Value) {
        let mut message = json!({"type": kind, "terminalId": self.terminal});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.socket.send(&message);
    }

    fn type_in(&mut self, text: &str) {
        self.say("terminal:input", &json!({"data": text}));
    }

    fn resize(&mut self, cols: u16, rows: u16) {
        self.say("terminal:resize", &json!({"cols": cols, "rows": rows}));
    }

    /// Waits until a text is shown, and returns what was shown before it. What comes after it is kept.
    fn expect(&mut self, text: &str) -> String {
        let mut looked = 0;
        loop {
            if let Some(found) = self.shown[looked..].find(text) {
                let end = looked + found + text.len();
                let rest = self.shown.split_off(end);
                let mut before = std::mem::replace(&mut self.shown, rest);
                before.truncate(end - text.len());
                return before;
            }
            // It may have begun at the end of what is there.
            looked = self.shown.len().saturating_sub(text.len());
            while !self.shown.is_char_boundary(looked) {
                looked -= 1;
            }
            match self.next() {
                Ok(data) => self.shown.push_str(&data),
                Err(end) => panic!("{text:?} was never shown but {:?}, then {end}", self.shown),
            }
        }
    }

    /// Reads on until the terminal's end, and returns what was shown and the exit code.
    fn leave(mut self) -> (String, i64) {
        loop {
            match self.next() {
                Ok(data) => self.shown.push_str(&data),
                Err(end) => {
                    assert_eq!(end["type"], "terminal:exit", "{end}");
                    return (self.shown, end["exitCode"].as_i64().unwrap());
                }
            }
        }
    }

    /// What is shown next, or the message that is none of that.
    fn next(&mut self) -> Result<String, Value> {
        let message = match self.socket.incoming() {
            Incoming::Json(message) => message,
            other => return Err(json!(format!("{other:?}"))),
        };
        if message["type"] != "terminal:data" {
            return Err(message);
        }
        assert_eq!(message["terminalId"], self.terminal.as_str(), "another's: {message}");
        Ok(message["data"].as_str().unwrap().to_owned())
    }

    /// A shell that answers: what it says is told from what is typed by the quotes.
    fn ready(&mut self) {
        self.type_in("echo rea''dy\n");
        self.expect("ready\r\n");
    }
}
