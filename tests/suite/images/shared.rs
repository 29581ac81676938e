//! Sandboxes of one image that a server keeps up: what they share and what they don't, and what keeps the image.

use std::fs;

use blackbox::{Client, Server};
use serde_json::{Value, json};

use super::{
    content::{Tar, gzip, root_file_system},
    good, image, listed, names_in, nothing_left, refused,
    registry::{OCI_GZIP, OCI_MANIFEST, Registry, USER, digest_of},
    trees,
};

pub(super) fn keyed(server: &Server) -> Client {
    server.with_header("OPEN-SANDBOX-API-KEY", &server.key_create(&["--admin"]).text)
}

pub(super) fn request(image: &Value) -> Value {
    json!({
        "image": image,
        "timeout": 600,
        "resourceLimits": {"cpu": "1", "memory": "256Mi"},
        "entrypoint": ["tail", "-f", "/dev/null"],
    })
}

pub(super) fn create(client: &Client, body: &Value) -> String {
    let made = client.post("/v1/sandboxes", body);
    assert_eq!(made.status, 202, "{}", made.text);
    made.json()["id"].as_str().unwrap().to_owned()
}

/// What a command writes, its lines joined.
pub(super) fn output(client: &Client, id: &str, command: &str) -> String {
    output_of(client, id, &json!({"command": command}))
}

/// The same of one of root's.
fn output_of_root(client: &Client, id: &str, command: &str) -> String {
    output_of(client, id, &json!({"command": command, "uid": 0}))
}

pub(super) fn output_of(client: &Client, id: &str, command: &Value) -> String {
    let path = format!("/v1/sandboxes/{id}/proxy/44772/command");
    let answer = client.post(&path, command);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let parts = answer.text.split("\n\n").filter(|part| !part.is_empty());
    let events: Vec<Value> = parts.map(|part| serde_json::from_str(part).unwrap()).collect();
    assert_eq!(events.last().unwrap()["type"], "execution_complete", "{command}: {events:?}");
    let lines = events.iter().filter(|event| event["type"] == "stdout");
    lines.map(|event| event["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn sandboxes_of_one_image_share_nothing_that_is_written_and_keep_it() {
    let (mut server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    registry.push("debian", "12", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    let name = registry.reference("debian:12");
    let body = request(&json!({"uri": name}));
    let (one, other) = (create(&client, &body), create(&client, &body));
    let entry =
        "for p in /proc/[0-9]*; do if [ \"$(cat $p/comm)\" = tail ]; then stat -c %u $p; fi; done; pwd";
    assert_eq!(output(&client, &one, entry), "1000\n/tmp", "the entrypoint is the image's user's");

    let tree = trees(&server, &listed(&server)[0]).remove(0);
    let write = "echo mine > /etc/old; rm /etc/passwd; echo x > /usr/bin/new; rm -r /var/cache";
    assert_eq!(output_of_root(&client, &one, write), "");
    assert_eq!(
        output(&client, &one, "cat /etc/old; echo /var/* /usr/bin/new"),
        "mine\n/var/lib /usr/bin/new"
    );
    assert_eq!(
        output(&client, &other, "cat /etc/old; ls /var/cache; cat /etc/passwd | sort -r | tail -1"),
        { "oldstale\nroot:x:0:0::/root:/bin/bash" }
    );
    assert_eq!(fs::read_to_string(tree.join("etc/old")).unwrap(), "old");
    assert!(tree.join("etc/passwd").exists() && !tree.join("usr/bin/new").exists());

    // The name means another image now; what is there lies on the old one.
    let top = Tar::default().file("etc/old", "newer").end();
    let layers = [(OCI_GZIP, gzip(&root), &root[..]), (OCI_GZIP, gzip(&top), &top)];
    registry.push("debian", "12", OCI_MANIFEST, &layers);
    good(&image(&server, "pull", &[&name]));
    let third = create(&client, &body);
    assert_eq!(output(&client, &third, "cat /etc/old"), "newer");
    assert_eq!(listed(&server)[0]["used_by"], 1);

    let snapshot = client.post(&format!("/v1/sandboxes/{one}/snapshots"), &json!({"name": "s"}));
    assert_eq!(snapshot.status, 202, "{}", snapshot.text);
    let snapshot = snapshot.json()["id"].as_str().unwrap().to_owned();

    server.kill();
    server.start_again();
    let client = keyed(&server);
    assert_eq!(output(&client, &one, "cat /etc/old; pwd"), "mine\n/tmp", "it runs on");
    for id in [&one, &other, &third] {
        assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    }
    // A snapshot alone keeps the image that has no name any more.
    good(&image(&server, "rm", &[&name]));
    good(&image(&server, "prune", &["--keep", "0"]));
    assert_eq!((listed(&server).len(), names_in(&server, "layers").len()), (0, 1));
    let mut from = request(&json!(null));
    from.as_object_mut().unwrap().remove("image");
    from["snapshotId"] = json!(snapshot);
    let fork = create(&client, &from);
    assert_eq!(output(&client, &fork, "cat /etc/old; ls /var"), "mine\nlib");
    assert_eq!(client.delete(&format!("/v1/snapshots/{snapshot}")).status, 204);
    good(&image(&server, "prune", &[]));
    assert_eq!(output(&client, &fork, "cat /etc/old; pwd"), "mine\n/tmp", "the fork keeps it too");
    assert_eq!(client.delete(&format!("/v1/sandboxes/{fork}")).status, 204);
    good(&image(&server, "prune", &[]));
    nothing_left(&server);
}

#[test]
fn an_image_in_use_is_not_removed() {
    let (server, registry) = (Server::start(), Registry::start());
    let client = keyed(&server);
    let root = root_file_system();
    registry.push("debian", "12", OCI_MANIFEST, &[(OCI_GZIP, gzip(&root), &root)]);
    let name = registry.reference("debian:12");
    let id = create(&client, &request(&json!({"uri": name})));
    let why = refused(&image(&server, "rm", &[&name]));
    assert!(why.contains("is in use"), "{why}");
    good(&image(&server, "prune", &["--keep", "0"]));
    assert_eq!((listed(&server).len(), names_in(&server, "layers").len()), (1, 1));
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    good(&image(&server, "rm", &[&name]));
    nothing_left(&server);
}

#[test]
fn a_server_without_privileges_pulls_what_is_asked_for_and_says_why_it_can_not() {
    let (server, registry, locked) = (Server::start(), Registry::start(), Registry::start_locked());
    let client = keyed(&server);
    let root = root_file_system();
    let packed = gzip(&root);
    let hostile = Tar::default().file("../x", "x").end();
    for registry in [&registry, &locked] {
        registry.push("good", "latest", OCI_MANIFEST, &[(OCI_GZIP, packed.clone(), &root)]);
    }
    registry.push("bad", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&hostile), &hostile)]);
    registry.push_for("arm", "latest", OCI_MANIFEST, &[(OCI_GZIP, packed.clone(), &root)], "arm64");
    let changed = Tar::default().file("a", "b").end();
    registry.push("lie", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&changed), &root)]);
    let corrupt = Tar::default().file("corrupt", "").end();
    registry.push("corrupt", "latest", OCI_MANIFEST, &[(OCI_GZIP, gzip(&corrupt), &corrupt)]);
    let mut bytes = gzip(&corrupt);
    bytes[9] ^= 1;
    fs::write(registry.blob_file(&digest_of(&gzip(&corrupt))), bytes).unwrap();
    let refused = |image: &Value, status: u16| {
        let answer = client.post("/v1/sandboxes", &request(image));
        assert_eq!(answer.status, status, "{}", answer.text);
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["code", "message"], "{body}");
        assert_eq!(client.get("/v1/sandboxes").ok()["pagination"]["totalItems"], 0);
        body["message"].as_str().unwrap().to_owned()
    };
    for (name, word) in [
        (registry.reference("none"), "has no image"),
        (registry.reference(&format!("good@{}", digest_of(b"no"))), "has no image"),
        (registry.reference("corrupt"), "its digest is"),
        (registry.reference("lie"), "not what the image's configuration says"),
        (registry.reference("bad"), "`..`"),
        (registry.reference("arm"), "it is for linux/arm64"),
        (locked.reference("good"), "it is private, or there is none"),
        ("Debian".to_owned(), "is no reference of an image"),
    ] {
        let why = refused(&json!({"uri": name}), 400);
        assert!(why.contains(word), "{name}: {why}");
    }
    let wrong = json!({"uri": locked.reference("good"), "auth": {"username": USER.0, "password": "no"}});
    assert!(refused(&wrong, 400).contains("the login is wrong"));
    assert!(refused(&json!({"uri": "127.0.0.1:1/x"}), 503).contains("cannot be reached"));
    nothing_left(&server);

    let login = json!({"uri": locked.reference("good"), "auth": {"username": USER.0, "password": USER.1}});
    let body = request(&login);
    let ids: Vec<String> = std::thread::scope(|scope| {
        let (client, body) = (&client, &body);
        let asks: Vec<_> = (0..4).map(|_| scope.spawn(move || create(client, body))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert_eq!(names_in(&server, "layers").len(), 1, "several asks are one image");
    assert_eq!(output(&client, &ids[3], "cat /etc/old"), "old");
    assert!(!server.log().contains(USER.1), "a password is in the log");
}
