//! The server over real sockets: several listeners, limits on the head, large bodies, graceful shutdown.

mod clients;

use std::{
    net::{SocketAddr, TcpListener as BoundListener},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{connection::HEAD_BYTES_MAX, *};
use crate::limits::body_read;

/// Long enough never to be the reason that something ends.
const LONG: Duration = Duration::from_secs(600);

struct Served {
    addresses: Vec<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

fn start(router: Router, listeners: usize, grace: Duration) -> Served {
    let listeners: Vec<_> = (0..listeners).map(|_| BoundListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { stopped.await.unwrap_or_default() };
    Served { addresses, stop, task: tokio::spawn(serve(listeners, router, 10, shutdown, grace)) }
}

/// Sends `request` and reads to the end of the connection.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn all_listeners_answer() {
    let served = start(hello(), 3, LONG);
    for address in served.addresses {
        let answer =
            exchange(address, b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let served = start(hello(), 1, LONG);
    let head = |bytes| format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(bytes));
    let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    stream.write_all(head(HEAD_BYTES_MAX + 1).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_an_idle_connection_closed() {
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrives, released) = (Arc::clone(&arrived), Arc::clone(&release));
    let slow = async move || {
        arrives.notify_one();
        released.notified().await;
        "done"
    };
    let served = start(Router::new().route("/", get(slow)), 1, LONG);
    let address = served.addresses[0];
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = tokio::spawn(async move { exchange(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await });
    arrived.notified().await;

    served.stop.send(()).unwrap();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    release.notify_one();
    assert!(request.await.unwrap().ends_with("done"));
    served.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_does_not_hold_the_server() {
    let arrived = Arc::new(Notify::new());
    let arrives = Arc::clone(&arrived);
    let endless = async move || {
        arrives.notify_one();
        std::future::pending::<()>().await;
    };
    let served = start(Router::new().route("/", get(endless)), 1, Duration::ZERO);
    let mut stream = TcpStream::connect(served.addresses[0]).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    arrived.notified().await;
    served.stop.send(()).unwrap();
    served.task.await.unwrap().unwrap();
}

/// A server whose bodies may have `bytes_max` bytes.
fn limited(bytes_max: usize) -> Router {
    let handler = async move |request: Request| match body_read(request, bytes_max).await {
        Ok(body) => (StatusCode::OK, body.len().to_string()),
        Err(refused) => (StatusCode::PAYLOAD_TOO_LARGE, refused.to_string()),
    };
    Router::new().route("/", post(handler))
}

#[tokio::test]
async fn a_client_that_sends_its_whole_body_first_sees_the_refusal() {
    const BODY_BYTES: usize = 32 << 20;
    let served = start(limited(1 << 20), 1, LONG);
    let length = format!("content-length: {BODY_BYTES}\r\n\r\n");
    let chunk = format!("transfer-encoding: chunked\r\n\r\n{BODY_BYTES:x}\r\n");
    for (framing, end) in [(length, ""), (chunk, "\r\n0\r\n\r\n")] {
        let mut request =
            format!("POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{framing}").into_bytes();
        request.resize(request.len() + BODY_BYTES, b'x');
        request.extend_from_slice(end.as_bytes());
        let answer = exchange(served.addresses[0], &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_before_it_sends() {
    let served = start(limited(10), 1, LONG);
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 11\r\n\r\n";
    let answer = exchange(served.addresses[0], head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
