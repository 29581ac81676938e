//! The WebSocket at `/ws`: terminals, the machine's figures, changes of files. `connection` serves one client, `terminal`
//! one terminal of it.

mod connection;
mod message;
mod out;
mod pace;
mod terminal;
mod text;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::{Caller, Engine};
use futures::StreamExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use self::connection::{About, serve};
use super::{
    cors::SUBPROTOCOL,
    error::SessionsError,
    session::{awake, session_find, wrong},
};
use crate::{
    caller::Asker, error::ErrorBody, extract::QueryParams, reject::Rejection, settings::ApiSettings,
};

/// The largest message that a client may send.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;
/// How long a good-bye may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
const VERSION: HeaderValue = HeaderValue::from_static("13");

type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// How a connection ends.
enum End {
    /// The client has gone, or said good-bye itself.
    Gone,
    /// It is told why.
    Close(CloseCode, &'static str),
}

/// Which session.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketQuery {
    session_id: Option<String>,
}

/// Opens a WebSocket for a session: terminals, the machine's figures, changes of files. Browsers, which can set no
/// header, send a key as a second subprotocol: `new WebSocket(url, ["sessions", "key." + key])`.
#[utoipa::path(
    get,
    path = "/ws",
    tag = "sessions",
    params(("sessionId" = String, Query, description = "The session")),
    responses(
        (status = 101, description = "A WebSocket; it is closed with 1008 where there is no such session"),
        (status = 400, description = "No handshake of a WebSocket", body = ErrorBody),
        (status = 426, description = "Another version of the protocol", body = ErrorBody),
    )
)]
pub(super) async fn socket_open(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    Asker(caller): Asker,
    query: Result<QueryParams<SocketQuery>, Rejection>,
    request: Request,
) -> Result<Response, SessionsError> {
    let QueryParams(SocketQuery { session_id }) = query?;
    let answer = accept(request.headers(), request.method())?;
    let upgrade = hyper::upgrade::on(request);
    let keep = settings.sessions.terminal_keep;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        tokio::spawn(begin(upgrade, engine, caller, session_id, keep));
    }
    Ok(answer)
}

/// The answer to a handshake (RFC 6455, section 4.2).
fn accept(headers: &HeaderMap, method: &Method) -> Result<Response, SessionsError> {
    let wants =
        has_word(headers, &header::CONNECTION, "upgrade") && has_word(headers, &header::UPGRADE, "websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| *method == Method::GET && wants);
    let Some(key) = key else {
        return Err(wrong("This path is for WebSockets: the headers of a handshake are missing"));
    };
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let error = wrong("Only version 13 of the WebSocket protocol is spoken").into_response();
        let told = [(header::SEC_WEBSOCKET_VERSION, VERSION)];
        let (mut head, body) = error.into_parts();
        head.status = StatusCode::UPGRADE_REQUIRED;
        return Ok((told, Response::from_parts(head, body)).into_response());
    }
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| wrong("Sec-WebSocket-Key: can't be answered"))?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().extend([
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accepted),
    ]);
    if has_word(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        let chosen = HeaderValue::from_static(SUBPROTOCOL);
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    Ok(answer)
}

/// Whether a header has a word in one of its lists.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}

async fn begin(
    upgrade: OnUpgrade,
    engine: Engine,
    caller: Caller,
    session_id: Option<String>,
    keep: Duration,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        // A message is sent when it is made.
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let websocket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let Some(id) = session_id.filter(|id| !id.is_empty()) else {
        return close(websocket, End::Close(CloseCode::Policy, "Session ID required")).await;
    };
    let found = async {
        let session = session_find(&engine, &caller, &id).await?;
        let in_use = awake(&engine, &caller, &session).await?;
        Ok((session, in_use))
    };
    match found.await {
        Ok((session, in_use)) => serve(websocket, About { engine, caller, session, keep, in_use }).await,
        Err(SessionsError::Unknown) => {
            close(websocket, End::Close(CloseCode::Policy, super::error::UNKNOWN)).await;
        }
        Err(SessionsError::Ended) => {
            close(websocket, End::Close(CloseCode::Policy, "Session has ended")).await;
        }
        Err(error) => {
            tracing::debug!(?error, "a session could not be used");
            close(websocket, End::Close(CloseCode::Error, "The session can't be used now")).await;
        }
    }
}

/// Says good-bye, and waits until it was heard: closed before that, the kernel could drop it.
async fn close(mut websocket: WebSocket, end: End) {
    let End::Close(code, reason) = end else { return };
    let parting = async move {
        websocket.close(Some(CloseFrame { code, reason: reason.into() })).await?;
        while let Some(Ok(_)) = websocket.next().await {}
        let io = websocket.get_mut();
        io.shutdown().await?;
        // What follows a message that was refused.
        let mut rest = [0; 4096];
        while io.read(&mut rest).await? > 0 {}
        Ok::<_, Error>(())
    };
    let _ = timeout(CLOSE_MAX, parting).await;
}
