//! Snapshots outlive their sandbox, and others begin with them.

use blackbox::Server;
use serde_json::{Value, json};

use super::{create, create_with, error, get, keyed, output, post, request, start};

fn take(client: &blackbox::Client, id: &str, name: &str) -> Value {
    let answer = client.post(&format!("/v1/sandboxes/{id}/snapshots"), &json!({"name": name}));
    assert_eq!(answer.status, 202, "{}", answer.text);
    let body = answer.json();
    let location = format!("/v1/snapshots/{}", body["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(location.as_str()));
    body
}

fn from(snapshot: &str) -> Value {
    let mut body = request(&json!({"snapshotId": snapshot}));
    body.as_object_mut().unwrap().remove("image");
    body.as_object_mut().unwrap().remove("entrypoint");
    body
}

#[test]
fn a_sandbox_begins_with_a_snapshot_of_one_that_is_gone() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let id = create(&client, &json!({}));
    assert_eq!(output(&client, &id, "echo kept > file; mkdir -p /opt/x; echo 2 > /opt/x/y"), [""; 0]);
    let snapshot = take(&client, &id, "one");
    assert_eq!(snapshot["status"]["state"], "Ready");
    assert_eq!(output(&client, &id, "rm file"), [""; 0]);
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);

    let taken = snapshot["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/v1/snapshots/{taken}")).ok(), snapshot);
    let made = client.post("/v1/sandboxes", &from(taken));
    assert_eq!(made.status, 202, "{}", made.text);
    let made = made.json()["id"].as_str().unwrap().to_owned();
    let found = get(&client, &made);
    assert_eq!(
        (&found["snapshotId"], &found["entrypoint"]),
        (&json!(taken), &json!(["tail", "-f", "/dev/null"]))
    );
    assert!(found.get("image").is_none(), "{found}");
    assert_eq!(output(&client, &made, "cat file /opt/x/y"), ["kept", "2"]);

    error(&keyed(&server).get(&format!("/v1/snapshots/{taken}")), 404);
    error(&keyed(&server).delete(&format!("/v1/snapshots/{taken}")), 404);
    error(&keyed(&server).post("/v1/sandboxes", &from(taken)), 400);
    assert_eq!(client.delete(&format!("/v1/snapshots/{taken}")).status, 204);
    error(&client.delete(&format!("/v1/snapshots/{taken}")), 404);
    // What began with it has its own.
    assert_eq!(output(&client, &made, "cat file"), ["kept"]);
    assert_eq!(client.delete(&format!("/v1/sandboxes/{made}")).status, 204);
    server.nothing_left(&before);
}

#[test]
fn snapshots_are_listed_and_filtered() {
    let (server, client) = start();
    let (one, two) = (create(&client, &json!({})), create(&client, &json!({})));
    let first = take(&client, &one, "a");
    let second = take(&client, &two, "a");
    let unnamed = post(&client, &two, "snapshots");
    assert_eq!(unnamed.status, 202, "{}", unnamed.text);
    let ids = |query: &str| -> Vec<Value> {
        let list = client.get(&format!("/v1/snapshots{query}")).ok();
        list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
    };
    assert_eq!(ids(""), [unnamed.json()["id"].clone(), second["id"].clone(), first["id"].clone()]);
    assert_eq!(ids(&format!("?sandboxId={one}")), [first["id"].clone()]);
    assert_eq!(ids("?name=a&pageSize=1&page=2"), [first["id"].clone()]);
    assert_eq!(ids("?state=ready").len(), 3);
    assert_eq!(ids("?state=Failed&state=Creating").len(), 0);
    assert_eq!(keyed(&server).get("/v1/snapshots").ok()["pagination"]["totalItems"], 0);
    error(&client.post(&format!("/v1/sandboxes/{one}/snapshots"), &json!({"name": "a"})), 409);
    for wrong in [json!({"name": ""}), json!({"name": 5}), json!({"name": "a\nb"})] {
        error(&client.post(&format!("/v1/sandboxes/{one}/snapshots"), &wrong), 400);
    }
    error(&client.post("/v1/sandboxes/c0ffee00-0000-4000-8000-000000000001/snapshots", &json!({})), 404);
}

#[test]
fn snapshots_of_a_deleted_sandbox_outlive_a_server_that_is_killed() {
    let (mut server, client) = start();
    let id = create_with(&client, &json!({}))["id"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &id, "echo kept > file"), [""; 0]);
    let taken = take(&client, &id, "one")["id"].as_str().unwrap().to_owned();
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    server.kill();
    server.start_again();
    let client = server.with_header("OPEN-SANDBOX-API-KEY", &server.key_create(&["--admin"]).text);
    let made = client.post("/v1/sandboxes", &from(&taken)).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &made, "cat file"), ["kept"]);
}
