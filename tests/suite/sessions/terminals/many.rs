//! Five hundred at once, and each its own.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use blackbox::{Server, Socket};
use serde_json::json;

use super::{connect, session};

const SESSIONS: usize = 10;
const CONNECTIONS_EACH: usize = 10;
const TERMINALS_EACH: usize = 5;
const TOKENS_EACH: usize = 20;
/// Messages that a connection may send in a second, and some room.
const MESSAGE_PACE: Duration = Duration::from_millis(12);

/// Sends no faster than a connection may.
struct Paced {
    socket: Socket,
    next: Instant,
}

impl Paced {
    fn send(&mut self, message: &serde_json::Value) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next = Instant::now() + MESSAGE_PACE;
        self.socket.send(message);
    }
}

/// Opens terminals on one connection, has each echo its own tokens, and looks whether it showed them and no others.
fn connection_use(server: &Server, session: &str, name: &str) {
    let mut paced = Paced { socket: connect(server.address(), session), next: Instant::now() };
    let mut shown: HashMap<String, String> = HashMap::new();
    let mut ids = Vec::new();
    for _ in 0..TERMINALS_EACH {
        paced.send(&json!({"type": "terminal:create"}));
    }
    while ids.len() < TERMINALS_EACH {
        let message = paced.socket.json();
        let id = message["terminalId"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned();
        match message["type"].as_str().unwrap() {
            "terminal:created" => ids.push(id),
            "terminal:data" => shown.entry(id).or_default().push_str(message["data"].as_str().unwrap()),
            _ => panic!("{message}"),
        }
    }
    let token = |terminal: usize, number: usize| format!("<{name}-{terminal}-{number}>");
    for number in 0..TOKENS_EACH {
        for (terminal, id) in ids.iter().enumerate() {
            // What is typed is shown too, and is told from what is said by the quotes.
            let line = format!("echo '<'{}\n", &token(terminal, number)[1..].replace('>', "'>'"));
            paced.send(&json!({"type": "terminal:input", "terminalId": id, "data": line}));
        }
        let is_shown = |shown: &HashMap<String, String>| {
            let mut all = ids.iter().enumerate();
            all.all(|(terminal, id)| {
                shown.get(id).is_some_and(|shown| shown.contains(&token(terminal, number)))
            })
        };
        while !is_shown(&shown) {
            let message = paced.socket.json();
            assert_eq!(message["type"], "terminal:data", "{message}");
            let id = message["terminalId"].as_str().unwrap().to_owned();
            shown.entry(id).or_default().push_str(message["data"].as_str().unwrap());
        }
    }
    for (terminal, id) in ids.iter().enumerate() {
        let shown = &shown[id];
        let tokens: Vec<&str> = shown
            .match_indices('<')
            .filter_map(|(start, _)| shown[start..].split_inclusive('>').next())
            .filter(|text| text.ends_with('>') && !text.contains('\''))
            .collect();
        let own: Vec<String> = (0..TOKENS_EACH).map(|number| token(terminal, number)).collect();
        assert_eq!(tokens, own, "{shown:?}");
    }
}

#[test]
fn five_hundred_terminals_show_their_own_tokens_and_no_others() {
    let server = Server::start();
    let sessions: Vec<String> = (0..SESSIONS).map(|_| session(&server)).collect();
    thread::scope(|scope| {
        let all: Vec<_> = (0..SESSIONS * CONNECTIONS_EACH)
            .map(|number| {
                let (server, session) = (&server, sessions[number % SESSIONS].as_str());
                scope.spawn(move || connection_use(server, session, &format!("c{number}")))
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
    });
}
