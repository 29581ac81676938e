//! Variables of the environment.

use blackbox::Server;
use serde_json::json;

use super::{output, session_create, shown, socket, terminal_create};

#[test]
fn variables_are_really_there() {
    let server = Server::start();
    let id = session_create(&server);
    let path = format!("/api/env/{id}");
    assert_eq!(server.get(&path).ok(), json!([]));
    let first = server.post(&path, &json!({"key": "API_KEY", "value": "secret value"})).ok();
    assert_eq!(
        (&first["key"], &first["value"], &first["sessionId"]),
        (&json!("API_KEY"), &json!("secret value"), &json!(id))
    );
    assert!(first["id"].is_u64() && first["createdAt"].as_str().unwrap().ends_with('Z'), "{first}");
    let second = server.post(&path, &json!({"key": "EMPTY", "value": ""})).ok();
    assert_ne!(first["id"], second["id"]);
    assert_eq!(server.get(&path).ok(), json!([first, second]));
    assert_eq!(output(&server, &id, "echo \"$API_KEY|${EMPTY-unset}\""), "secret value|\n");

    let mut before = socket(&server, &id);
    let old = terminal_create(&mut before);
    let replaced = server.post(&path, &json!({"key": "API_KEY", "value": "new"})).ok();
    assert_eq!((&replaced["id"], &replaced["value"]), (&first["id"], &json!("new")));
    assert_eq!(server.get(&path).ok().as_array().unwrap().len(), 2);
    assert_eq!(output(&server, &id, "echo $API_KEY"), "new\n");
    let new = terminal_create(&mut before);
    for (terminal, value) in [(old, "secret value"), (new, "new")] {
        let data = "echo \"<$API_KEY>\"\n";
        before.send(&json!({"type": "terminal:input", "terminalId": terminal, "data": data}));
        shown(&mut before, &terminal, &format!("<{value}>"));
    }
}

#[test]
fn what_is_no_variable_is_refused() {
    let server = Server::start();
    let id = session_create(&server);
    let post = |body: serde_json::Value| server.post(&format!("/api/env/{id}"), &body).error(400);
    for body in [json!({}), json!({"key": "A"}), json!({"value": "x"}), json!({"key": "", "value": "x"})] {
        assert_eq!(post(body), "Key and value are required");
    }
    for key in ["1A", "A-B", "A B", "A=B", "Ä", "A\u{0}"] {
        assert!(post(json!({"key": key, "value": "x"})).starts_with("Invalid key"), "{key}");
    }
    assert!(!post(json!({"key": "A", "value": "a\u{0}b"})).is_empty());
    assert!(!post(json!({"key": "A", "value": "x".repeat(200 << 10)})).is_empty(), "Linux passes 128 KiB");
    assert_eq!(server.get(&format!("/api/env/{id}")).ok(), json!([]));
}
