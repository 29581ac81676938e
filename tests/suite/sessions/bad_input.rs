//! Requests that are wrong, and how that is told.

use blackbox::Server;
use serde_json::json;

use super::session_create;

#[test]
fn parameters_are_checked_before_the_session() {
    let server = Server::start();
    let there = session_create(&server);
    for id in [there.as_str(), "session_1_none"] {
        let files = format!("/api/files/{id}/content");
        assert_eq!(server.get(&files).error(400), "File path is required");
        assert_eq!(server.get(&format!("{files}?path=")).error(400), "File path is required");
        assert_eq!(server.delete(&files).error(400), "File path is required");
        for body in
            [json!({}), json!({"path": "f"}), json!({"content": ""}), json!({"path": "", "content": ""})]
        {
            assert_eq!(server.post(&files, &body).error(400), "File path and content are required");
        }
        assert_eq!(server.post_empty(&files).error(400), "File path and content are required");
        let command = format!("/api/execute/{id}");
        for body in [json!({}), json!({"command": ""}), json!({"args": ["a"]})] {
            assert_eq!(server.post(&command, &body).error(400), "Command is required");
        }
    }
}

#[test]
fn a_session_that_is_not_there_is_404_everywhere() {
    let server = Server::start();
    for id in ["session_1_none", "x", "..%2f", "%00", "session_1234567890123_0000000000000000000000000"] {
        for (method, path, body) in [
            ("GET", format!("/api/sessions/{id}"), None),
            ("GET", format!("/api/files/{id}/tree"), None),
            ("GET", format!("/api/files/{id}/content?path=f"), None),
            ("DELETE", format!("/api/files/{id}/content?path=f"), None),
            ("POST", format!("/api/files/{id}/content"), Some(json!({"path": "f", "content": ""}))),
            ("POST", format!("/api/execute/{id}"), Some(json!({"command": "true"}))),
            ("GET", format!("/api/processes/{id}"), None),
            ("GET", format!("/api/env/{id}"), None),
            ("POST", format!("/api/env/{id}"), Some(json!({"key": "A", "value": "b"}))),
        ] {
            let body = body.map(|body| body.to_string().into_bytes());
            let answer = server.send(method, &path, body.as_deref()).unwrap();
            assert_eq!(answer.error(404), "Session not found", "{method} {path}");
        }
    }
}

#[test]
fn every_error_below_api_has_one_form() {
    let server = Server::start_with(&["--body-max", "1K"]);
    let id = session_create(&server);
    let send = |method: &str, path: &str, body: Option<&[u8]>| server.send(method, path, body).unwrap();
    assert!(!send("GET", "/api/nothing", None).error(404).is_empty());
    assert!(!send("GET", "/api", None).error(404).is_empty());
    let wrong_method = send("PATCH", &format!("/api/files/{id}/tree"), None);
    assert!(wrong_method.header("allow").is_some());
    assert!(!wrong_method.error(405).is_empty());
    let large = json!({"path": "f", "content": "x".repeat(2000)}).to_string();
    let refused = send("POST", &format!("/api/files/{id}/content"), Some(large.as_bytes()));
    assert!(refused.error(413).contains("1024"));
    for body in ["{", "[]", "null", "\"x\"", r#"{"command": 5}"#, r#"{"command": "x", "args": "y"}"#] {
        let answer = send("POST", &format!("/api/execute/{id}"), Some(body.as_bytes()));
        assert!(!answer.error(400).is_empty(), "{body}");
    }
    for body in [r#"{"userId": {}}"#, r#"{"userId": [1]}"#, r#"{"status": "ended"}"#, r#"{"status": 1}"#] {
        assert!(!send("POST", "/api/sessions", Some(body.as_bytes())).error(400).is_empty(), "{body}");
    }
    let nul = json!({"command": "a\u{0}b"}).to_string();
    assert!(!send("POST", &format!("/api/execute/{id}"), Some(nul.as_bytes())).error(400).is_empty());
}
