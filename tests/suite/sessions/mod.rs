//! The sessions dialect: workspaces for browser IDEs.

mod bad_input;
mod cors;
mod env;
mod execute;
mod files;
mod lifecycle;
mod rates;
mod socket;
mod terminals;
mod upload;

use blackbox::{Client, Server, Socket};
use serde_json::{Value, json};

/// Makes a session.
fn session_create(client: &Client) -> String {
    let made = client.post_empty("/api/sessions").ok();
    made["id"].as_str().unwrap().to_owned()
}

/// Runs a command in it; what it gave.
fn execute(client: &Client, session: &str, command: &[&str]) -> Value {
    let (program, args) = command.split_first().unwrap();
    client.post(&format!("/api/execute/{session}"), &json!({"command": program, "args": args})).ok()
}

/// The standard output of a shell command that must succeed without a word of complaint.
fn output(client: &Client, session: &str, command: &str) -> String {
    let ran = execute(client, session, &["sh", "-c", command]);
    assert_eq!((&ran["exitCode"], &ran["stderr"]), (&json!(0), &json!("")), "{command}: {ran}");
    ran["stdout"].as_str().unwrap().to_owned()
}

/// A part of a query as it must be written.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Writes a file.
fn write(client: &Client, session: &str, path: &str, content: &str) {
    let body = json!({"path": path, "content": content});
    let written = client.post(&format!("/api/files/{session}/content"), &body).ok();
    assert_eq!(written, json!({"success": true}));
}

/// Reads one.
fn read(client: &Client, session: &str, path: &str) -> blackbox::Answer {
    client.get(&format!("/api/files/{session}/content?path={}", encoded(path)))
}

/// A WebSocket of a session.
fn socket(server: &Server, session: &str) -> Socket {
    Socket::connect(server.address(), &format!("/ws?sessionId={session}"))
}

/// The next message of this type; those of others are passed over.
fn next_of(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = socket.json();
        if message["type"] == kind {
            return message;
        }
        assert_ne!(message["type"], "error", "instead of {kind}: {message}");
    }
}

/// Opens a terminal and returns its name.
fn terminal_create(socket: &mut Socket) -> String {
    socket.send(&json!({"type": "terminal:create"}));
    next_of(socket, "terminal:created")["terminalId"].as_str().unwrap().to_owned()
}

/// Reads a terminal's output until it has this text.
fn shown(socket: &mut Socket, terminal: &str, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let message = next_of(socket, "terminal:data");
        if message["terminalId"] == terminal {
            all.push_str(message["data"].as_str().unwrap());
        }
    }
    all
}
