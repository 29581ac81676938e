//! OpenSandbox's lifecycle API: sandboxes and their states, snapshots, and the way into them.

mod bad_input;
mod entrypoint;
mod lifecycle;
mod pauses;
mod proxy;
mod recovery;
mod snapshots;

use blackbox::{Answer, Client, Key, Server};
use serde_json::{Value, json};

/// A server, and a client with a key of its own.
pub(crate) fn start() -> (Server, Client) {
    let server = Server::start();
    let client = keyed(&server);
    (server, client)
}

pub(crate) fn keyed(server: &Server) -> Client {
    keyed_by(server, &server.key_create(&[]))
}

/// A client that asks with this key.
pub(crate) fn keyed_by(server: &Server, key: &Key) -> Client {
    server.with_header("OPEN-SANDBOX-API-KEY", &key.text)
}

/// What the published clients send, with these fields in the place of theirs.
pub(crate) fn request(fields: &Value) -> Value {
    let mut body = json!({
        "image": {"uri": "host"},
        "timeout": 600,
        "resourceLimits": {"cpu": "1", "memory": "512Mi"},
        "env": {},
        "metadata": {},
        "entrypoint": ["tail", "-f", "/dev/null"],
        "secureAccess": false,
        "extensions": {},
    });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub(crate) fn create_with(client: &Client, fields: &Value) -> Value {
    let made = client.post("/v1/sandboxes", &request(fields));
    assert_eq!(made.status, 202, "{}", made.text);
    let body = made.json();
    let location = format!("/v1/sandboxes/{}", body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(location.as_str()));
    body
}

/// Makes a sandbox; its id.
pub(crate) fn create(client: &Client, fields: &Value) -> String {
    create_with(client, fields)["id"].as_str().unwrap().to_owned()
}

pub(crate) fn get(client: &Client, id: &str) -> Value {
    client.get(&format!("/v1/sandboxes/{id}")).ok()
}

pub(crate) fn state(client: &Client, id: &str) -> String {
    get(client, id)["status"]["state"].as_str().unwrap().to_owned()
}

/// An answer that is an error of this API; its code and message.
pub(crate) fn error(answer: &Answer, status: u16) -> (String, String) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let body = answer.json();
    let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["code", "message"], "{body}");
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

pub(crate) fn execd(id: &str, path: &str) -> String {
    format!("/v1/sandboxes/{id}/proxy/44772{path}")
}

/// The events of a command that was run to its end.
pub(crate) fn events(client: &Client, id: &str, command: &str) -> Vec<Value> {
    let answer = client.post(&execd(id, "/command"), &json!({"command": command}));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let parts = answer.text.split("\n\n").filter(|part| !part.is_empty());
    parts.map(|part| serde_json::from_str(part).unwrap()).collect()
}

/// What a command wrote that must succeed, by lines.
pub(crate) fn output(client: &Client, id: &str, command: &str) -> Vec<String> {
    let events = events(client, id, command);
    assert_eq!(events.last().unwrap()["type"], "execution_complete", "{command}: {events:?}");
    let lines = events.iter().filter(|event| event["type"] == "stdout");
    lines.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn post(client: &Client, id: &str, path: &str) -> Answer {
    client.post_empty(&format!("/v1/sandboxes/{id}/{path}"))
}
