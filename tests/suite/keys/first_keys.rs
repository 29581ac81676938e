//! Keys through the API: how the first ones are had, and that an administrator's ends that.

use blackbox::Server;
use serde_json::{Value, json};

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2024-12-09T19:30:00".len() && text.as_bytes()[10] == b'T'
}

#[test]
fn the_first_keys_are_made_without_one() {
    let server = Server::start();
    assert_eq!(server.get("/api-keys").ok(), json!({"api_keys": []}));
    let first = server.post("/api-keys", &json!({"name": "my-app"}));
    assert_eq!(first.status, 201, "{}", first.text);
    let first = first.json();
    let key = first["key"].as_str().unwrap();
    assert!(key.len() == 51 && key.starts_with("ws_"), "{key}");
    assert!(key[3..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{key}");
    assert_eq!((&first["id"], &first["name"]), (&json!(1), &json!("my-app")));
    assert_eq!(first["message"], "Save your API key - it won't be shown again!");
    assert!(is_time(&first["created_at"]), "{first}");
    assert_eq!(first.as_object().unwrap().len(), 5, "{first}");
    // The server asks for keys now, and more can be had.
    let _ = server.get("/sandboxes").error(401);
    let second = server.post_empty("/api-keys");
    assert_eq!((second.status, &second.json()["name"]), (201, &Value::Null));
    let list = server.get("/api-keys").ok();
    assert_eq!(list["api_keys"][0]["id"], 2, "the newest first: {list}");
    assert_eq!(list["api_keys"][1]["key"], format!("{}...", &key[..9]));
    assert_eq!(list["api_keys"][1].as_object().unwrap().len(), 4, "{list}");
    assert!(!list.to_string().contains(&key[9..]), "{list}");
    let me = server.with_header("x-api-key", key).get("/me").ok();
    assert_eq!((&me["api_key_id"], &me["api_key_name"]), (&json!(1), &json!("my-app")));
    assert!(is_time(&me["created_at"]), "{me}");
}

#[test]
fn with_an_administrators_key_only_that_makes_keys() {
    let server = Server::start();
    let (admin, user) = (server.key_create(&["--admin"]), server.key_create(&[]));
    let body = json!({"name": "x"});
    assert_eq!(server.post("/api-keys", &body).error(401), "API key required (x-api-key header)");
    assert_eq!(server.get("/api-keys").status, 401);
    let _ = server.with_key(&user).post("/api-keys", &body).error(403);
    let _ = server.with_key(&user).get("/api-keys").error(403);
    let made = server.with_key(&admin).post("/api-keys", &body);
    assert_eq!(made.status, 201, "{}", made.text);
    let made = server.with_header("x-api-key", made.json()["key"].as_str().unwrap());
    assert_eq!(made.get("/me").ok()["api_key_name"], "x");
    let _ = made.get("/api-keys").error(403);
    // And it stays so when that key is revoked.
    let revoked = blackbox::keys_command(server.data(), "revoke").arg(admin.id.to_string()).status().unwrap();
    assert!(revoked.success());
    let _ = server.post("/api-keys", &body).error(401);
}

#[test]
fn the_vms_dialect_asks_for_a_key_on_an_open_server_too() {
    let server = Server::start();
    assert_eq!(server.get("/me").error(401), "API key required (x-api-key header)");
    assert_eq!(server.with_header("x-api-key", "ws_wrong").get("/me").error(403), "Invalid API key");
    // Where there is no key, there is none to be wrong about.
    assert_eq!(server.with_header("x-api-key", "ws_wrong").get("/sandboxes").ok(), json!([]));
}

#[test]
fn a_name_that_is_none_is_refused() {
    let server = Server::start();
    for name in [json!(5), json!("a\nb"), json!("x".repeat(1000))] {
        let _ = server.post("/api-keys", &json!({"name": name})).error(400);
    }
    let _ = server.post("/api-keys", &json!(5)).error(400);
    assert_eq!(server.get("/api-keys").ok(), json!({"api_keys": []}));
}
