//! Who may ask, and what those get who ask wrongly.

use std::{io::Write, process::Command};

use protocol::agent::{Event, HttpDialect, Request};
use protocol::{GuestPath, limits::Limits};
use serde_json::json;

use crate::{
    http::{Answer, HttpAgent, TOKEN, request_bytes},
    wire::Agent,
};

#[test]
fn ping_answers_with_an_empty_body() {
    let agent = HttpAgent::start();
    let answer = agent.get("/ping");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
}

#[test]
fn every_request_needs_the_token() {
    let agent = HttpAgent::start();
    for token in ["", "S3CRET-TOKEN", "s3cret-toke", "s3cret-tokens", "x"] {
        for (method, target) in [("GET", "/ping"), ("POST", "/command"), ("GET", "/nope")] {
            let headers = format!("X-EXECD-ACCESS-TOKEN: {token}\r\n");
            agent.request_bare(method, target, &headers, b"{}").assert_error(401, "UNAUTHORIZED", "TOKEN");
        }
    }
    agent.request_bare("GET", "/ping", "", b"").assert_error(401, "UNAUTHORIZED", "TOKEN");
    assert_eq!(agent.get("/ping").status, 200);
}

#[test]
fn the_token_of_the_environment_counts_and_is_hidden_from_commands() {
    let agent = HttpAgent::with(&[], &[("ATOLL_AGENT_TOKEN", TOKEN), ("VISIBLE", "yes")]);
    agent.request_bare("GET", "/ping", "", b"").assert_error(401, "UNAUTHORIZED", "TOKEN");
    let events = agent.command(&json!({"command": "echo \"${ATOLL_AGENT_TOKEN-none} $VISIBLE\""}));
    assert_eq!(crate::http::texts(&events, "stdout"), ["none yes"]);
}

#[test]
fn without_a_token_only_this_machine_is_listened_to_and_no_web_page() {
    let agent = HttpAgent::with(&[], &[]);
    assert_eq!(agent.request_bare("GET", "/ping", "", b"").status, 200);
    let origin = "Origin: http://example.org\r\n";
    agent.request_bare("GET", "/ping", origin, b"").assert_error(403, "FORBIDDEN", "token");
    let mut stream = agent.connect();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: example.org\r\n\r\n").unwrap();
    Answer::read(stream).assert_error(403, "FORBIDDEN", "token");
}

#[test]
fn beyond_the_loopback_a_token_is_needed() {
    for (words, reason) in [
        (&["--listen", "0.0.0.0:0"][..], "without a token only on the loopback"),
        (&["--listen", "0.0.0.0:0", "--token", ""], "the token is empty"),
        (&["--listen", "nowhere", "--token", "x"], "no address"),
    ] {
        let run = Command::new(env!("CARGO_BIN_EXE_atoll-agent"))
            .args(words)
            .env_remove("ATOLL_AGENT_TOKEN")
            .output()
            .unwrap();
        let text = String::from_utf8(run.stderr).unwrap();
        assert!(run.status.code() == Some(1) && text.contains(reason), "{words:?}: {text}");
    }
}

#[test]
fn paths_and_methods_that_are_not_there_say_so() {
    let agent = HttpAgent::start();
    for target in ["/", "/nope", "/command/status", "/ping/", "/Ping", "/files/none"] {
        agent.get(target).assert_error(404, "NOT_FOUND", target);
    }
    let answer = agent.request("PUT", "/command", "", b"");
    assert_eq!(answer.header("allow"), Some("POST, DELETE"));
    answer.assert_error(405, "METHOD_NOT_ALLOWED", "POST, DELETE");
}

#[test]
fn who_sends_a_large_body_to_the_wrong_place_gets_the_answer_all_the_same() {
    let agent = HttpAgent::start();
    let body = vec![b' '; 24 << 20];
    agent.request("POST", "/nowhere", "", &body).assert_error(404, "NOT_FOUND", "/nowhere");
    agent.request("PATCH", "/command", "", &body).assert_error(405, "METHOD_NOT_ALLOWED", "");
    agent.request("POST", "/command", "", &body).assert_error(413, "REQUEST_TOO_LARGE", "");
    agent.request("POST", "/files/upload", "", &body).assert_error(400, "INVALID_REQUEST_BODY", "multipart");
    agent.request("POST", "/session/none/run", "", &body).assert_error(404, "NOT_FOUND", "session");
}

#[test]
fn isolated_sessions_are_said_not_to_be_there() {
    let agent = HttpAgent::start();
    let answer = agent.get("/v1/isolated/capabilities");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["available"], false);
    assert_eq!(agent.post("/v1/isolated/session", &json!({})).status, 503);
    assert_eq!(agent.delete("/v1/isolated/session/x").status, 503);
}

#[test]
fn bodies_that_are_not_what_they_should_be_are_refused() {
    let agent = HttpAgent::start();
    for (body, reason) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[\"true\"]", "invalid length"),
        ("[null,[\"true\"],null,false,null,null,null,null]", "begin with `{`"),
        ("\u{0}", "expected value"),
        ("{\"command\":7}", "invalid type"),
        ("{\"command\":\"true\",\"timeout\":-1}", "invalid value"),
        ("{\"command\":\"true\",\"uid\":-1}", "invalid value"),
        ("{\"command\":\"true\",\"gid\":0}", "without `uid`"),
        ("{\"command\":\"\"}", "exactly one"),
        ("{}", "exactly one"),
        ("{\"argv\":[]}", "exactly one"),
        ("{\"argv\":[\"true\"],\"command\":\"true\"}", "exactly one"),
    ] {
        agent.request("POST", "/command", "", body.as_bytes()).assert_error(
            400,
            "INVALID_REQUEST_BODY",
            reason,
        );
    }
    agent.request("POST", "/command", "", b"{\"command\":\"\xff\"}").assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "unicode",
    );
    let large = vec![b' '; (4 << 20) + 1];
    agent.request("POST", "/command", "", &large).assert_error(413, "REQUEST_TOO_LARGE", "4194304");
    assert_eq!(agent.get("/ping").status, 200);
}

#[test]
fn the_control_socket_becomes_http_without_a_token() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    // The first request comes in one piece with the frame.
    let env = [("PATH", "/usr/bin:/bin"), ("WORD", "hello")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let (limits, cwd) = (Limits::default(), GuestPath::absolute("/var").unwrap());
    let mut first = protocol::frame::encode_message(&Request::Http {
        dialect: HttpDialect::Execd,
        limits,
        env,
        cwd,
        user: None,
    })
    .unwrap();
    let body = json!({"command": "echo $WORD; pwd"}).to_string();
    let request = request_bytes("POST", "/command", "", body.as_bytes());
    let half = request.len() / 2;
    first.extend(&request[..half]);
    connection.stream.write_all(&first).unwrap();
    assert_eq!(connection.event(), Event::Done);
    connection.stream.write_all(&request[half..]).unwrap();
    let events = Answer::read(connection.stream).events();
    assert_eq!(crate::http::texts(&events, "stdout"), ["hello", "/var"]);
}
