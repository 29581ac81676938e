//! The id of each request: in the `x-request-id` header of its response, in the text of an internal error and
//! in the log, so that one leads to the other.

use std::fmt;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

/// The header that carries it, both ways.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client is replaced: it goes into every log line.
const ID_BYTES_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The id of one request: the client's, when that is a token, else a random one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    /// The id of the request that is being answered; empty outside of one.
    ///
    /// Errors become responses in places that don't see the request, hence a task-local value.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_else(|_| Self(String::new()))
    }

    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if is_token(id) => Self(id.to_owned()),
            _ => Self(Uuid::new_v4().simple().to_string()),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Only what can't be mistaken for something else in a log line or a JSON text.
fn is_token(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=~".contains(&byte))
}

/// Gives the request its id. Must be the outermost middleware.
pub(crate) async fn request_id_assign(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let header = HeaderValue::from_str(&id.0);
    let mut response = CURRENT.scope(id, next.run(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(X_REQUEST_ID, header);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static [u8]) -> String {
        RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap())])).0
    }

    #[test]
    fn a_token_is_taken_over() {
        assert_eq!(of(b"a-1_B.2:c/d+e=~"), "a-1_B.2:c/d+e=~");
        let longest: &'static [u8] = &[b'x'; ID_BYTES_MAX];
        assert_eq!(of(longest).len(), ID_BYTES_MAX);
        assert!(of(longest).starts_with("xxx"));
    }

    #[test]
    fn anything_else_is_replaced_by_a_fresh_one() {
        let too_long: &'static [u8] = &[b'x'; ID_BYTES_MAX + 1];
        for bad in [too_long, b"", b"a b", b"a\"b", b"caf\xc3\xa9", b"<script>"] {
            let id = of(bad);
            assert!(Uuid::try_parse(&id).is_ok(), "{id}");
            assert_ne!(id, of(bad));
        }
        assert!(Uuid::try_parse(&RequestId::of(&HeaderMap::new()).0).is_ok());
    }
}
