//! The vms dialect: named machines, commands, snapshots.

mod answers;
mod archives;
mod errors;
mod order;
mod recovery;
mod restore;
mod users;
mod workspace;

use blackbox::{Client, Server};
use serde_json::{Value, json};

/// A client with a key of its own.
fn keyed(server: &Server) -> Client {
    server.with_key(&server.key_create(&[]))
}

/// Makes a machine.
fn vm_create(client: &Client, name: &str) -> Value {
    let made = client.post("/vms", &json!({"name": name}));
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}

/// Runs a command; what it gave.
fn vm_run(client: &Client, name: &str, command: &str) -> Value {
    client.post(&format!("/vms/{name}/run"), &json!({"command": command})).ok()
}

/// The standard output of a command that must succeed without a word of complaint.
fn vm_output(client: &Client, name: &str, command: &str) -> String {
    let ran = vm_run(client, name, command);
    assert_eq!((&ran["exitCode"], &ran["stderr"]), (&json!(0), &json!("")), "{command}: {ran}");
    ran["stdout"].as_str().unwrap().to_owned()
}

/// A machine's snapshots.
fn snapshots(client: &Client, name: &str) -> Vec<Value> {
    client.get(&format!("/vms/{name}/snapshots")).ok()["snapshots"].as_array().unwrap().clone()
}

/// Their names.
fn snapshot_names(client: &Client, name: &str) -> Vec<String> {
    snapshots(client, name).iter().map(|it| it["snapshot_name"].as_str().unwrap().to_owned()).collect()
}

fn restore(client: &Client, name: &str, snapshot: &str) -> blackbox::Answer {
    client.post_empty(&format!("/vms/{name}/snapshots/{snapshot}/restore"))
}

/// What is in the folder of snapshots on the host.
fn snapshots_on_disk(server: &Server) -> usize {
    std::fs::read_dir(server.data().join("storage/snapshots")).unwrap().count()
}
