//! Volumes: named ones, which the server keeps, and folders of the host below what its operator allowed.

mod command_line;
mod host;
mod named;
mod recovery;
mod refusals;
mod targets;

use blackbox::{Client, Server};
use serde_json::{Value, json};

use crate::opensandbox::{create, error, events, keyed, output, request};

/// A volume of the server's, at `/data`.
fn named(claim: &str) -> Value {
    json!({"name": "data", "pvc": {"claimName": claim}, "mountPath": "/data"})
}

/// The same with these fields of the volume in the place of others.
fn with(mut volume: Value, fields: &Value) -> Value {
    for (name, value) in fields.as_object().unwrap() {
        volume[name] = value.clone();
    }
    volume
}

/// Makes a sandbox with these volumes; its id.
fn sandbox(client: &Client, volumes: &[Value]) -> String {
    create(client, &json!({"volumes": volumes}))
}

fn delete(client: &Client, id: &str) {
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
}

/// The code of the 400 that a sandbox with these volumes is refused with.
fn refusal(client: &Client, volumes: &[Value]) -> (String, String) {
    error(&client.post("/v1/sandboxes", &request(&json!({"volumes": volumes}))), 400)
}

/// What a command that must fail wrote as errors.
fn complaint(client: &Client, id: &str, command: &str) -> String {
    let events = events(client, id, command);
    assert_eq!(events.last().unwrap()["type"], "error", "{command}: {events:?}");
    let lines = events.iter().filter(|event| event["type"] == "stderr");
    lines.map(|event| event["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Names of the volumes that a key sees.
fn names(client: &Client) -> Vec<String> {
    let list = client.get("/v1/volumes").ok();
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// Folders of volumes in the storage.
fn folders(server: &Server) -> usize {
    std::fs::read_dir(server.data().join("storage/volumes")).unwrap().count()
}
