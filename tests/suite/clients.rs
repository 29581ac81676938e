//! Clients that go away, and clients that are slow: nothing of them is kept for nobody, and others are served.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use blackbox::{
    Server,
    deadline::{found, wait_until},
};
use serde_json::{Value, json};

/// A program that ends by itself long after the test.
fn endless() -> Value {
    json!({"runtime": "bash", "code": "while :; do sleep 1; done", "timeout_ms": 3_000_000})
}

/// Sends a request and leaves the connection open.
fn send(server: &Server, path: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    connection
}

fn post(server: &Server, path: &str, body: &Value) -> TcpStream {
    let body = body.to_string();
    send(server, path, body.len(), body.as_bytes())
}

fn reset(connection: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO)).unwrap();
    drop(connection);
}

#[test]
fn a_client_that_goes_away_ends_its_run() {
    let server = Server::start();
    let before = server.traces_at_rest();
    for leave in [drop::<TcpStream>, reset] {
        let connection = post(&server, "/execute", &endless());
        wait_until("it runs", || !server.traces().programs().is_empty());
        leave(connection);
        server.nothing_left(&before);
        assert_eq!(server.get("/sandboxes").ok(), json!([]));
    }
}

#[test]
fn a_client_that_has_only_sent_all_gets_its_answer() {
    let server = Server::start();
    // Longer than it takes the server to ask whether the client is there.
    let program = json!({"runtime": "bash", "code": "sleep 3; echo here"});
    let mut connection = post(&server, "/execute", &program);
    connection.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 200 OK\r\n") && answer.contains(r#""stdout":"here\n""#), "{answer}");
}

#[test]
fn a_run_of_a_sandbox_goes_on_when_its_client_goes_away() {
    let server = Server::start();
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 4; echo done"}));
    let connection = post(&server, &format!("/sandbox/{id}/execute"), &json!({}));
    wait_until("it runs", || server.status(&id) == "running");
    reset(connection);
    wait_until("it has ended", || server.status(&id) != "running");
    let log = server.get(&format!("/admin/api/sandboxes/{id}/logs"));
    assert!(log.text.contains("done"), "{}", log.text);
}

#[test]
fn uploads_that_stall_hold_up_large_bodies_only() {
    const BODY_MAX: usize = 1 << 20;
    let server = Server::start_with(&["--body-max", "1M", "--body-memory", "1M"]);
    // One alone: of two that wait for each other's share both may be refused at the same moment.
    let stalled = send(&server, "/execute", BODY_MAX, &vec![b' '; BODY_MAX - 1]);
    let code = format!("echo large # {}", "x".repeat(BODY_MAX / 2));
    let large = json!({"runtime": "bash", "code": code});
    // Each attempt may wait for memory as long as a body may, and get some when a stalled one is refused.
    let refused = found(Duration::from_secs(60), || {
        let answer = server.post("/execute", &large);
        (answer.status == 503).then_some(answer)
    });
    let refused = refused.expect("all memory for bodies is taken");
    assert!(refused.error(503).contains("--body-memory"));
    let seconds: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(seconds >= 1);
    assert_eq!(server.execute_code("bash", "echo small").output(), "small\n");
    drop(stalled);
    wait_until("the memory is free again", || server.post("/execute", &large).status == 200);
}

#[test]
fn a_fork_is_made_to_its_end_when_its_client_goes_away() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let id = server.create(&json!({"runtime": "bash", "code": "echo line > f"}));
    assert_eq!(server.run(&id).exit_code, 0);
    let snapshots = server.data().join("storage/snapshots");
    let there = || std::fs::read_dir(&snapshots).unwrap().count();
    let connection = post(&server, &format!("/admin/api/sandboxes/{id}/fork"), &json!({"count": 20}));
    wait_until("it is begun", || there() > 0);
    reset(connection);
    wait_until("what it was made from is gone", || there() == 0);
    let all = || server.get("/sandboxes").ok().as_array().unwrap().clone();
    assert_eq!(all().len(), 21, "all of them are made");
    wait_until("all of them are up", || all().iter().filter(|it| it["status"] == "running").count() == 20);
    for id in all().iter().map(|it| it["id"].as_str().unwrap()) {
        server.remove(id);
    }
    server.nothing_left(&before);
}
