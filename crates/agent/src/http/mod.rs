//! HTTP/1.1 over a connection, by whichever door it came in. Nothing of it exists before the first connection.
//!
//! This room must not know what a request asks for: [`crate::execd`] answers, or [`mod@crate::executor`].

mod body;
mod content;
mod door;
mod error;
mod listen;
mod query;
mod request;
mod response;
mod separators;
mod websocket;

use std::{convert::Infallible, rc::Rc, time::Duration};

use hyper::{Request, body as hyper_body, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::agent::HttpDialect;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;

pub(crate) use body::{Gone, Outgoing, Pieces, body_stream};
pub(crate) use content::{PIECE_BYTES, file_body, piece_read};
pub(crate) use door::{Door, Token};
pub(crate) use error::HttpError;
pub(crate) use listen::http_accept;
pub(crate) use query::Query;
pub(crate) use request::{Incoming, RequestBody, body_read, json_array, json_object, json_optional};
pub(crate) use response::{Reply, empty, event_stream, json, json_pieces, octets, text};
pub(crate) use separators::{json_text_push, separators_escape};
pub(crate) use websocket::{Handshake, WebSocket};

use crate::{agent::Agent, execd, executor, surroundings::Surroundings};

/// How long a head may take to come, the wait for the next request on a connection included.
const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// What is buffered of a connection in each direction.
const BUFFER_BYTES: usize = 128 << 10;

/// Serves the rest of a connection of the control socket. `early` is what came before this.
pub(crate) async fn http_serve_unix(
    agent: Rc<Agent>,
    stream: UnixStream,
    early: Vec<u8>,
    dialect: HttpDialect,
    surroundings: Surroundings,
) {
    agent.surroundings.set(surroundings);
    let (read_half, write_half) = stream.into_split();
    let read_half = std::io::Cursor::new(early).chain(read_half);
    let door = Rc::new(Door::Server);
    match dialect {
        HttpDialect::Execd => execd::code_port_open(&agent, &door),
        HttpDialect::Executor => executor::proxy_open_inside(&agent),
    }
    http_serve(agent, dialect, door, tokio::io::join(read_half, write_half)).await;
}

/// Serves a connection to its end. What goes wrong on it concerns no other.
async fn http_serve(
    agent: Rc<Agent>,
    dialect: HttpDialect,
    door: Rc<Door>,
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let service = service_fn(move |request: Request<hyper_body::Incoming>| {
        let (agent, door) = (Rc::clone(&agent), Rc::clone(&door));
        async move {
            Ok::<_, Infallible>(match dialect {
                HttpDialect::Execd => match door.check(request.headers()) {
                    Ok(()) => answer(&agent, &door, dialect, request).await,
                    Err(error) => error.into_reply(),
                },
                // It is for it to say what needs no proof.
                HttpDialect::Executor => answer(&agent, &door, dialect, request).await,
            })
        }
    });
    // It fails when the client breaks the connection off, which nobody needs to be told.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
}

/// Answers when the client has sent all that it will: one that sends first may not see an earlier answer.
async fn answer(
    agent: &Rc<Agent>,
    door: &Door,
    dialect: HttpDialect,
    request: Request<hyper_body::Incoming>,
) -> Reply {
    let waits_to_send = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let (body, rest) = RequestBody::new(body);
    let request = Request::from_parts(head, body);
    let reply = match dialect {
        HttpDialect::Execd => execd::answer(agent, request).await.unwrap_or_else(HttpError::into_reply),
        HttpDialect::Executor => executor::answer(agent, door, request).await,
    };
    if !waits_to_send {
        rest.drain().await;
    }
    reply
}
