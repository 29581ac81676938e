//! Notices that a client has gone while its request is under way. It must not know what the request does.
//!
//! A client that closes its connection and one that only says that it has nothing more to send (`nc -N`, and
//! some that read the answer to its end) look the same: the socket reads as ended. The latter waits for its
//! answer, so hyper is told to let it (`half_close`). What tells them apart is that a closed connection
//! answers with a reset to whatever it is sent. HTTP has something to send that means nothing: a `100
//! Continue` that was not asked for is thrown away by the client (RFC 9110, section 15.2.1).
//!
//! Once an answer has begun there is nothing of that kind. Most are written at once, and then a reset comes; but a
//! stream of events may be silent for long, and what it waits for would run on for nobody. Its clients keep their
//! connection open for as long as they listen, so there the end of one direction is taken for the end.
//!
//! A client that vanishes without a word, and one of HTTP/1.0, for which there is nothing to send, are left
//! to the kernel's keep-alive: it finds them after a minute, or two.

use std::{sync::atomic::Ordering, time::Duration};

use hyper::{Request, Response, Version, header};
use socket2::{SockRef, TcpKeepalive};
use tokio::{io::Interest, net::TcpStream, time::sleep};

use super::stream::Traffic;

/// What a client is sent that may have gone.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long after the end of what it sends: most answers are there before.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// How long a connection is silent before the kernel asks, and asks again.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long what was sent may stay unacknowledged; also bounds what keep-alive waits for.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Has the kernel find clients that vanished.
pub(super) fn keepalive_set(socket: &TcpStream) -> std::io::Result<()> {
    let socket = SockRef::from(socket);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))
}

/// Notes that a request begins.
pub(super) fn request_began<B>(traffic: &Traffic, request: &Request<B>) {
    traffic.awaited.store(request.version() >= Version::HTTP_11, Ordering::Relaxed);
    traffic.events.store(false, Ordering::Relaxed);
}

/// Notes that a request has its answer.
pub(super) fn request_answered<B>(traffic: &Traffic, answer: &Response<B>) {
    let content_type = answer.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    traffic.awaited.store(false, Ordering::Relaxed);
    traffic.events.store(content_type.starts_with(b"text/event-stream"), Ordering::Relaxed);
}

/// Returns when the other end of `socket` has gone, and there is nobody to answer.
pub(super) async fn gone(socket: &TcpStream, traffic: &Traffic) {
    let sent_all = async {
        // tokio has no interest in the end alone; this one is told of it, and of urgent data, which is never
        // asked for.
        if socket.ready(Interest::PRIORITY).await.is_ok() {
            probe(socket, traffic).await;
        }
    };
    tokio::select! {
        // A reset. An error here is one of the runtime, which is about to end.
        _ = socket.ready(Interest::ERROR) => {}
        () = sent_all => {}
    }
}

/// Sends the probe as soon as it fits. A reset comes to whoever waits for it; this returns only when the
/// connection is of no use.
async fn probe(socket: &TcpStream, traffic: &Traffic) {
    loop {
        sleep(PROBE_AFTER).await;
        if traffic.events.load(Ordering::Relaxed) {
            return;
        }
        if !traffic.probe_fits() {
            continue;
        }
        match socket.try_write(PROBE) {
            Ok(bytes) if bytes == PROBE.len() => return std::future::pending().await,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}
