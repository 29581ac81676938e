//! What one key made is not there for another.

use blackbox::Server;
use serde_json::json;

/// The dialect's operations on one sandbox: method and path.
fn operations_on_a_sandbox(server: &Server) -> Vec<(String, String)> {
    let document = server.get("/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap().iter();
    let on_one = paths.filter(|(path, _)| path.contains("{id}"));
    on_one
        .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |it| (path, it)))
        .filter(|(_, (_, operation))| operation["tags"][0] == "sandbox-service")
        .map(|(path, (method, _))| (method.to_uppercase(), path.clone()))
        .collect()
}

#[test]
fn every_operation_on_another_keys_sandbox_finds_none() {
    let server = Server::start();
    let operations = operations_on_a_sandbox(&server);
    assert!(operations.len() >= 5, "{operations:?}");
    let (owner, other) = (server.key_create(&[]), server.key_create(&[]));
    let (owner, other) = (server.with_key(&owner), server.with_key(&other));
    let id = owner.create(&json!({"runtime": "bash", "code": "cat f; echo ran"}));
    let unknown = "6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11";
    for (method, path) in operations {
        let body =
            (method != "GET" && method != "DELETE").then_some(br#"[{"path":"f","content":"x"}]"#.as_slice());
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
