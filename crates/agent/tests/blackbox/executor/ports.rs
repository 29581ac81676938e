//! The one port that is shown outside.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use serde_json::json;

use super::Executor;

/// What the proxy's side reads of a connection until its end; a reset is one.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

#[test]
fn one_port_is_bound_at_a_time() {
    let executor = Executor::start();
    let bound = json!({"success": true, "message": "Port binding configured", "port": "8099"});
    assert_eq!(executor.ask("/bind_port", &json!({"port": "8099"})), bound);
    for port in ["8099", "8100"] {
        let answer = executor.post("/bind_port", &json!({"port": port}));
        let conflict = json!({"success": false, "error": "Port already bound", "current_port": "8099"});
        assert_eq!((answer.status, answer.json()), (409, conflict));
    }
    for body in [&b""[..], b"{}", b"{\"port\":\"1\"}", b"no json"] {
        let answer = executor.request("POST", "/unbind_port", super::BEARER, body);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"success": true, "message": "Port binding removed"}))
        );
    }
    assert_eq!(executor.ask("/bind_port", &json!({"port": "8100"}))["port"], "8100");
}

#[test]
fn the_proxy_joins_to_the_port_that_is_bound() {
    let executor = Executor::start();
    assert_eq!(rest(executor.proxy()), b"", "nothing is bound: it accepts and closes");
    let (target, port) = listener();
    executor.ask("/bind_port", &json!({"port": port}));
    let mut outside = executor.proxy();
    let (mut inside, _) = target.accept().unwrap();
    outside.write_all(b"question").unwrap();
    let mut read = [0; 8];
    inside.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"question");
    executor.ask("/unbind_port", &json!({}));
    assert_eq!(rest(executor.proxy()), b"");
    // What is open survives.
    inside.write_all(b"an answer").unwrap();
    drop(inside);
    assert_eq!(rest(outside), b"an answer");
    drop(target);
    executor.ask("/bind_port", &json!({"port": port}));
    assert_eq!(rest(executor.proxy()), b"", "nobody listens there any more");
}

#[test]
fn many_connections_pass_much_at_once() {
    let executor = Executor::start();
    let (target, port) = listener();
    executor.ask("/bind_port", &json!({"port": port}));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in target.incoming().take(20) {
                let mut stream = stream.unwrap();
                scope.spawn(move || {
                    let mut copy = stream.try_clone().unwrap();
                    std::io::copy(&mut copy, &mut stream).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                });
            }
        });
        for _ in 0..20 {
            scope.spawn(|| {
                let mut stream = executor.proxy();
                let reader = stream.try_clone().unwrap();
                let back = scope.spawn(move || rest(reader));
                stream.write_all(&bytes).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                assert!(back.join().unwrap() == bytes);
            });
        }
    });
}
