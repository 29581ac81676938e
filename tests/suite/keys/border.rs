//! What one key made is not there for another.

use blackbox::Server;
use serde_json::json;

/// A dialect's operations on one sandbox, whose paths have this part: method and path.
fn operations_on_one(server: &Server, dialect: &str, part: &str) -> Vec<(String, String)> {
    let document = server.get("/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap().iter();
    let on_one = paths.filter(|(path, _)| path.contains(part));
    on_one
        .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |it| (path, it)))
        .filter(|(_, (_, operation))| operation["tags"][0] == dialect)
        .map(|(path, (method, _))| (method.to_uppercase(), path.clone()))
        .collect()
}

#[test]
fn every_operation_on_another_keys_sandbox_finds_none() {
    let server = Server::start();
    let operations = operations_on_one(&server, "sandbox-service", "{id}");
    assert!(operations.len() >= 5, "{operations:?}");
    let (owner, other) = (server.key_create(&[]), server.key_create(&[]));
    let (owner, other) = (server.with_key(&owner), server.with_key(&other));
    let id = owner.create(&json!({"runtime": "bash", "code": "cat f; echo ran"}));
    assert_eq!(owner.run(&id).exit_code, 0);
    let taken = owner.post(&format!("/admin/api/sandboxes/{id}/snapshots"), &json!({})).json();
    let snapshot = taken["id"].as_str().unwrap().to_owned();
    let unknown = "6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11";
    for (method, path) in operations {
        let body: &[u8] =
            if path.ends_with("/files") { br#"[{"path":"f","content":"x"}]"# } else { br#"{"count":1}"# };
        let body = (method != "GET" && method != "DELETE").then_some(body);
        let path = path.replace("{snapshot}", &snapshot);
        let ask = |id: &str| other.send(&method, &path.replace("{id}", id), body).unwrap();
        let text = ask(&id).error(404);
        assert_eq!(
            text,
            ask(unknown).error(404).replace(unknown, &id),
            "{method} {path}: as if there were none"
        );
    }
    assert_eq!(other.get("/sandboxes").ok(), json!([]));
    assert_eq!(other.get("/sandbox").ok(), json!([]));
    let run = owner.run(&id);
    assert_eq!((run.stdout.as_str(), run.exit_code), ("ran\n", 0), "it is there, and as it was: {run:?}");
}

#[test]
fn an_administrator_sees_and_changes_everything() {
    let server = Server::start();
    let before_keys = server.create(&json!({"runtime": "bash", "code": "echo open"}));
    let (user, admin) = (server.key_create(&[]), server.key_create(&["--admin"]));
    let (user, admin) = (server.with_key(&user), server.with_key(&admin));
    let id = user.create(&json!({"runtime": "bash", "code": "echo ran"}));
    let ids = |list: serde_json::Value| {
        let ids = list.as_array().unwrap().iter().map(|sandbox| sandbox["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(user.get("/sandboxes").ok()), [id.as_str()], "what was made without a key is nobody's");
    assert_eq!(ids(admin.get("/sandboxes").ok()), [id.as_str(), before_keys.as_str()]);
    assert_eq!(admin.run(&id).output(), "ran\n");
    admin.remove(&id);
    admin.remove(&before_keys);
    let _ = user.get(&format!("/sandbox/{id}")).error(404);
}

#[test]
fn every_operation_on_another_keys_vm_finds_none() {
    let server = Server::start();
    let operations = operations_on_one(&server, "vms", "{name}");
    assert!(operations.len() >= 6, "{operations:?}");
    let (owner, other) = (server.key_create(&[]), server.key_create(&[]));
    let (owner, other) = (server.with_key(&owner), server.with_key(&other));
    assert_eq!(owner.post("/vms", &json!({"name": "a"})).status, 201);
    let ran = owner.post("/vms/a/run", &json!({"command": "echo kept > f"})).ok();
    for (method, path) in operations {
        let body = br#"{"command": "rm f"}"#.as_slice();
        let body = (method != "GET" && method != "DELETE").then_some(body);
        let ask = |name: &str| {
            let path = path.replace("{name}", name).replace("{snapshot}", "initial");
            other.send(&method, &path, body).unwrap().error(404)
        };
        assert_eq!(ask("a"), ask("none").replace("none", "a"), "{method} {path}: as if there were none");
        assert_eq!(ask("a"), "VM \"a\" not found", "{method} {path}");
    }
    assert_eq!(other.get("/vms").ok(), json!({"vms": []}));
    assert_eq!(other.get("/snapshots").ok(), json!({"snapshots": []}));
    // Names are each key's own, and so is what they mean.
    assert_eq!(other.post("/vms", &json!({"name": "a"})).status, 201);
    let of_other = other.post("/vms/a/run", &json!({"command": "ls -A"})).ok();
    assert_eq!(of_other["stdout"], "");
    let snapshot = ran["snapshot"].as_str().unwrap();
    let restored = other.post_empty(&format!("/vms/a/snapshots/{snapshot}/restore"));
    assert_eq!(restored.error(404), format!("Snapshot \"{snapshot}\" not found"));
    assert_eq!(other.delete("/vms/a").status, 200);
    assert_eq!(owner.post("/vms/a/run", &json!({"command": "cat f"})).ok()["stdout"], "kept\n");
    assert_eq!(owner.get("/vms/a/snapshots").ok()["snapshots"].as_array().unwrap().len(), 3);
}

#[test]
fn every_operation_on_another_keys_session_finds_none() {
    let server = Server::start();
    let operations = operations_on_one(&server, "sessions", "{session_id}");
    assert!(operations.len() >= 9, "{operations:?}");
    let (owner, other) = (server.key_create(&[]), server.key_create(&[]));
    let (owner, other) = (server.with_key(&owner), server.with_key(&other));
    let id = owner.post_empty("/api/sessions").ok()["id"].as_str().unwrap().to_owned();
    let body =
        json!({"path": "f", "content": "kept", "command": "true", "key": "A", "value": "b"}).to_string();
    let _ = owner.send("POST", &format!("/api/files/{id}/content"), Some(body.as_bytes())).unwrap().ok();
    for (method, path) in operations {
        let path = path.replace("{session_id}", &id) + "?path=f";
        let form = "--e\r\nContent-Disposition: form-data; name=\"path\"\r\n\r\nf\r\n--e\r\n\
            Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nx\r\n--e--\r\n";
        let sent = match (method.as_str(), path.contains("/upload")) {
            ("POST", true) => Some(("multipart/form-data; boundary=e", form.as_bytes())),
            ("POST", false) => Some(("application/json", body.as_bytes())),
            _ => None,
        };
        let answer = other.send_bytes(&method, &path, sent).unwrap().into_text();
        assert_eq!(answer.header("ratelimit-limit"), None, "{method} {path}: nothing shows that it is there");
        assert_eq!(answer.error(404), "Session not found", "{method} {path}");
        let nobody = server.send_bytes(&method, &path, sent).unwrap().into_text();
        assert_eq!(nobody.status, 401, "{method} {path}");
    }
    let kept = owner.get(&format!("/api/files/{id}/content?path=f")).ok();
    assert_eq!(kept["content"], "kept");
}

#[test]
fn an_administrator_has_everybodys_vms_by_name_unless_that_is_not_one() {
    let server = Server::start();
    let [one, two, admin] =
        [vec![], vec![], vec!["--admin"]].map(|it| server.with_key(&server.key_create(&it)));
    let make = |client: &blackbox::Client, name: &str| {
        assert_eq!(client.post("/vms", &json!({"name": name})).status, 201);
    };
    make(&one, "only");
    make(&one, "both");
    make(&two, "both");
    let whoami = |client: &blackbox::Client, name: &str, who: &str| {
        client.post(&format!("/vms/{name}/run"), &json!({"command": format!("echo {who} >> f; cat f")}))
    };
    assert_eq!(whoami(&admin, "only", "admin").ok()["stdout"], "admin\n");
    assert_eq!(whoami(&one, "only", "one").ok()["stdout"], "admin\none\n", "it was that one");
    let refused = whoami(&admin, "both", "admin").error(409);
    let ids: Vec<_> = refused.split(&[' ', ',', ')', ';']).filter(|word| word.len() == 36).collect();
    assert_eq!(ids.len(), 2, "{refused}");
    assert_eq!(admin.get("/vms").ok()["vms"].as_array().unwrap().len(), 3);
    assert_eq!(admin.get("/snapshots").ok()["snapshots"].as_array().unwrap().len(), 5);
    // Its own come first.
    make(&admin, "both");
    assert_eq!(whoami(&admin, "both", "admin").ok()["stdout"], "admin\n");
    assert_eq!(admin.delete("/vms/both").status, 200);
    // By their ids, each can be had all the same.
    admin.remove(ids[0]);
    assert_eq!(whoami(&admin, "both", "admin").status, 200);
}
