//! Ports on the loopback are reached through a connection, both ways.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    thread,
};

use protocol::{
    agent::{Event, FailureKind, Request},
    frame,
};

use crate::wire::{Agent, assert_failure};

fn round_trip(listener: TcpListener) {
    let agent = Agent::start();
    let port = listener.local_addr().unwrap().port();
    let mut connection = agent.connect();
    thread::scope(|scope| {
        // Answers only when the other side has ended its half: it sees the half-close, and can still write.
        scope.spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            let mut question = Vec::new();
            tcp.read_to_end(&mut question).unwrap();
            tcp.write_all(&question).unwrap();
            tcp.write_all(b" and the answer").unwrap();
        });
        // The first bytes come in one piece with the request.
        let mut first = frame::encode_message(&Request::PortDial { port }).unwrap();
        first.extend(b"early ");
        connection.stream.write_all(&first).unwrap();
        assert_eq!(connection.event(), Event::Done);
        connection.stream.write_all(&[b'x'; 300_000]).unwrap();
        connection.stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        connection.stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"early xxx") && answer.ends_with(b"xxx and the answer"));
        assert_eq!(answer.len(), 6 + 300_000 + 15);
    });
}

#[test]
fn a_port_is_dialed_on_ipv4() {
    round_trip(TcpListener::bind("127.0.0.1:0").unwrap());
}

#[test]
fn a_port_is_dialed_on_ipv6_where_ipv4_does_not_listen() {
    round_trip(TcpListener::bind("[::1]:0").unwrap());
}

#[test]
fn a_port_that_nobody_listens_on_refuses() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let failure = connection.ask_failing(&Request::PortDial { port });
    assert_failure(&failure, FailureKind::Refused, &format!("connect to port {port}: Connection refused"));
    assert_failure(&connection.ask_failing(&Request::PortDial { port: 0 }), FailureKind::Invalid, "port 0");
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}
