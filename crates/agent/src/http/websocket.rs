//! From a request to a WebSocket: the handshake of RFC 6455, and what its messages may be.
//!
//! It must not know what the messages mean.

use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderName, HeaderValue},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{HttpError, Incoming, Outgoing, Reply};

/// The largest message that a client may send.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What is read at once.
const READ_BYTES: usize = 16 << 10;
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A WebSocket.
pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// What becomes a WebSocket once its answer was sent.
pub(crate) struct Handshake(OnUpgrade);

impl Handshake {
    /// The answer that accepts, and what to wait for then.
    ///
    /// # Errors
    /// 400 for a request that does not ask for a WebSocket; 426 for another version of it.
    pub(crate) fn accept(request: &mut Incoming) -> Result<(Reply, Self), HttpError> {
        let headers = request.headers();
        let wants = has_word(headers, header::CONNECTION, "upgrade")
            && has_word(headers, header::UPGRADE, "websocket");
        if request.method() != Method::GET || !wants {
            let message = "this path is for WebSockets: the headers of a handshake are missing";
            return Err(HttpError::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            let message = "only version 13 of the WebSocket protocol is spoken";
            return Err(HttpError::new(StatusCode::UPGRADE_REQUIRED, "INVALID_REQUEST", message)
                .with_header(header::SEC_WEBSOCKET_VERSION, "13"));
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            let message = "the header Sec-WebSocket-Key is missing";
            return Err(HttpError::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message));
        };
        let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|_| HttpError::body("the header Sec-WebSocket-Key can't be answered"))?;
        let mut reply = Reply::new(Outgoing::Whole(None));
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        reply.headers_mut().extend([
            (header::CONNECTION, HeaderValue::from_static("upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accepted),
        ]);
        Ok((reply, Self(hyper::upgrade::on(request))))
    }

    /// Waits until the answer was sent. `None` when the client was gone before.
    pub(crate) async fn finish(self) -> Option<WebSocket> {
        let io = TokioIo::new(self.0.await.ok()?);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // A message is sent when it is made.
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        Some(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await)
    }
}

/// Whether a header has a word in one of its lists.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|found| found.trim().eq_ignore_ascii_case(word))
}
