//! Bodies of requests: what is left of them is kept for later, and those that are JSON are of bounded size, with
//! errors that say what is wrong where.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    body::{self, Body, Frame, SizeHint},
};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::HttpError;

/// A request as it comes in.
pub(crate) type Incoming = Request<RequestBody>;

/// A request's body. What is not read of it when it is dropped is left for [`Rest`].
pub(crate) struct RequestBody {
    /// `None` only while it is dropped.
    body: Option<body::Incoming>,
    rest: Option<oneshot::Sender<body::Incoming>>,
}

/// What a handler leaves of a body. A client that is answered and cut off while it sends may lose the answer with the
/// connection: rfc 9112, section 9.6.
pub(super) struct Rest(oneshot::Receiver<body::Incoming>);

impl RequestBody {
    pub(super) fn new(body: body::Incoming) -> (Self, Rest) {
        let (sender, receiver) = oneshot::channel();
        (Self { body: Some(body), rest: Some(sender) }, Rest(receiver))
    }
}

impl Rest {
    /// Reads to its end what was left, once the handler is done. One that still reads is left alone.
    pub(super) async fn drain(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        while let Some(Ok(_)) = body.frame().await {}
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(body), Some(rest)) = (self.body.take(), self.rest.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it when the connection has ended.
            let _ = rest.send(body);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// The largest JSON body.
const JSON_BYTES_MAX: usize = 4 << 20;

/// The body's value, which must be an object.
///
/// # Errors
/// 400 when it is none, 413 when it is too large.
pub(crate) async fn json_object<T: DeserializeOwned>(request: Incoming) -> Result<T, HttpError> {
    value_of(&body_read(request, JSON_BYTES_MAX).await?, b'{')
}

/// The body's values, which must be an array.
///
/// # Errors
/// As [`json_object`].
pub(crate) async fn json_array<T: DeserializeOwned>(request: Incoming) -> Result<Vec<T>, HttpError> {
    value_of(&body_read(request, JSON_BYTES_MAX).await?, b'[')
}

/// The body's value as [`json_object`], or the default one of an empty body.
///
/// # Errors
/// As [`json_object`].
pub(crate) async fn json_optional<T: DeserializeOwned + Default>(request: Incoming) -> Result<T, HttpError> {
    match body_read(request, JSON_BYTES_MAX).await? {
        bytes if bytes.trim_ascii().is_empty() => Ok(T::default()),
        bytes => value_of(&bytes, b'{'),
    }
}

/// A value whose text starts so: an object could otherwise also be written as an array of its fields.
fn value_of<T: DeserializeOwned>(bytes: &[u8], opening: u8) -> Result<T, HttpError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| HttpError::body(format!("the body is not as it should be: {error}")))?;
    if bytes.trim_ascii_start().first() == Some(&opening) {
        Ok(value)
    } else {
        Err(HttpError::body(format!("the body must begin with `{}`", char::from(opening))))
    }
}

/// All of the body.
///
/// # Errors
/// 413 when it is larger than `bytes_max`, 400 when it breaks off.
pub(crate) async fn body_read(request: Incoming, bytes_max: usize) -> Result<Bytes, HttpError> {
    match Limited::new(request.into_body(), bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "REQUEST_TOO_LARGE",
            format!("the body is over {bytes_max} bytes"),
        )),
        Err(error) => Err(HttpError::body(format!("the body broke off: {error}"))),
    }
}
