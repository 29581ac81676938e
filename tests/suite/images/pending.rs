//! Sandboxes whose image takes long to pull: what is told of them meanwhile, and what becomes of them.

use std::{thread, time::Duration};

use blackbox::{Client, Server, deadline::found};
use serde_json::{Value, json};

use super::{
    content::{Tar, gzip, root_file_system},
    front::Front,
    listed, names_in,
    registry::{OCI_GZIP, OCI_MANIFEST, Registry},
    shared::{keyed, output, request},
};

/// Longer than any of this takes.
const WITHIN: Duration = Duration::from_secs(90);

/// Makes sandboxes, all at once, of images that are not coming yet.
fn pending<const COUNT: usize>(client: &Client, names: [&str; COUNT]) -> [String; COUNT] {
    thread::scope(|scope| {
        names
            .map(|name| scope.spawn(move || client.post("/v1/sandboxes", &request(&json!({"uri": name})))))
            .map(|asked| {
                let made = asked.join().unwrap();
                assert_eq!(
                    (made.status, &made.json()["status"]["state"]),
                    (202, &json!("Pending")),
                    "{}",
                    made.text
                );
                made.json()["id"].as_str().unwrap().to_owned()
            })
    })
}

fn path(id: &str) -> String {
    format!("/v1/sandboxes/{id}")
}

/// What a sandbox is when it is not what it was.
fn left(client: &Client, id: &str, state: &str) -> Value {
    let status =
        || Some(client.get(&path(id)).ok()["status"].clone()).filter(|status| status["state"] != state);
    found(WITHIN, status).expect("it does not stay so")
}

#[test]
fn a_sandbox_is_pending_until_its_image_is_here_and_failed_if_it_does_not_come() {
    let (server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    let hostile = Tar::default().file("../x", "x").end();
    registry.push("good", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    registry.push("bad", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&hostile), &hostile)]);
    let front = Front::start(registry.address()).holds();
    let (good, bad) = (front.reference("good"), front.reference("bad"));
    let [kept, other, broken, deleted] = pending(&client, [&good, &good, &bad, &good]);

    let shown = client.get("/v1/sandboxes?state=Pending").ok();
    assert_eq!(shown["pagination"]["totalItems"], 4, "{shown}");
    assert_eq!(client.get(&path(&kept)).ok()["image"]["uri"], good.as_str());
    // What the published clients do next. They ask again after any status but 401 and 403.
    assert_eq!(client.get(&format!("{}/endpoints/44772", path(&kept))).status, 200);
    assert_eq!(client.get(&format!("{}/proxy/44772/ping", path(&kept))).status, 409);
    assert_eq!(client.post_empty(&format!("{}/pause", path(&kept))).status, 409);
    assert_eq!(client.delete(&path(&deleted)).status, 204);
    assert_eq!(client.get(&path(&deleted)).status, 404);

    front.release();
    for id in [&kept, &other] {
        assert_eq!(left(&client, id, "Pending")["state"], "Running");
        assert_eq!(client.get(&format!("{}/proxy/44772/ping", path(id))).status, 200);
        assert_eq!(output(&client, id, "cat /etc/old"), "old");
    }
    let status = left(&client, &broken, "Pending");
    assert_eq!((&status["state"], &status["reason"]), (&json!("Failed"), &json!("image_unavailable")));
    assert!(status["message"].as_str().unwrap().contains("`..`"), "{status}");
    assert_eq!(client.get(&format!("{}/proxy/44772/ping", path(&broken))).status, 409);
    assert_eq!(client.post_empty(&format!("{}/snapshots", path(&broken))).status, 409);
    assert_eq!(client.delete(&path(&broken)).status, 204);
    assert_eq!((listed(&server).len(), &listed(&server)[0]["used_by"]), (1, &json!(2)));
    assert_eq!(names_in(&server, "layers").len(), 1, "nothing is left of the hostile one");
}

#[test]
fn a_server_that_ends_forgets_what_is_pending() {
    let (mut server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    registry.push("good", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    let front = Front::start(registry.address()).holds();
    let name = front.reference("good");
    let [id] = pending(&client, [&name]);
    server.kill();
    server.start_again();
    let client = keyed(&server);
    assert_eq!(client.get(&path(&id)).status, 404);
    front.release();
    let made = client.post("/v1/sandboxes", &request(&json!({"uri": name})));
    assert_eq!(made.status, 202, "{}", made.text);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    found(WITHIN, || Some(()).filter(|()| client.get(&path(&id)).ok()["status"]["state"] == "Running"))
        .expect("it comes up");
}
