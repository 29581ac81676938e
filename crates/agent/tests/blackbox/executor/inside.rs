//! Over the control socket, where the server has found out who asks.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
};

use protocol::{
    GuestPath,
    agent::{Event, FailureKind, HttpDialect, Request},
    limits::Limits,
};
use serde_json::json;

use crate::{
    http::{Answer, request_bytes},
    wire::{Agent, assert_failure},
};

fn post(
    agent: &Agent,
    target: &str,
    body: &str,
    env: &[(&str, &str)],
) -> Answer<std::os::unix::net::UnixStream> {
    let mut connection = agent.connect();
    let limits = Limits::default();
    let cwd = GuestPath::root();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(
        connection.ask(&Request::Http { dialect: HttpDialect::Executor, limits, env, cwd, user: None }),
        Event::Done
    );
    connection.stream.write_all(&request_bytes("POST", target, "", body.as_bytes())).unwrap();
    Answer::read(connection.stream)
}

#[test]
fn no_secret_is_asked_for_and_the_servers_environment_is_used() {
    let agent = Agent::start();
    let env = [("GIVEN", "yes"), ("PATH", "/usr/bin:/bin"), ("PROXY_PORT", "0")];
    let body = json!({"cmd": "echo $GIVEN; pwd; env | grep -c CARGO"}).to_string();
    assert_eq!(post(&agent, "/run", &body, &env).json()["stdout"], "yes\n/\n0\n");
}

#[test]
fn the_bound_port_is_dialed() {
    let agent = Agent::start();
    assert_failure(
        &agent.connect().ask_failing(&Request::BoundPortDial),
        FailureKind::Refused,
        "no port is bound",
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let body = json!({"port": port}).to_string();
    assert_eq!(post(&agent, "/bind_port", &body, &[("PROXY_PORT", "0")]).status, 200);
    let mut connection = agent.connect();
    assert_eq!(connection.ask(&Request::BoundPortDial), Event::Done);
    let (mut inside, _) = listener.accept().unwrap();
    connection.stream.write_all(b"question").unwrap();
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut read = Vec::new();
    inside.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"question");
    drop(inside);
    drop(listener);
    assert_failure(&agent.connect().ask_failing(&Request::BoundPortDial), FailureKind::Refused, &port);
}
