//! Requests that are refused before any engine call, each with its status and a text that names the part.
//!
//! They answer `{"error": "…"}`. A dialect whose errors look otherwise takes `Result<JsonBody<_>,
//! Rejection>` and gives it its own shape.

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::error::error_response;

/// When it is worth trying again where memory is short: clients that stall are given up in this time.
const RETRY_AFTER_S: u32 = 30;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    /// A body of another type than JSON.
    #[error("Content-Type: the body must be application/json, not {0:?}")]
    ContentType(String),
    /// No body where one is needed.
    #[error("the request has no body; send JSON")]
    BodyMissing,
    /// The body is over the limit.
    #[error("the body is larger than the maximum of {bytes_max} bytes")]
    BodyTooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The client stopped sending in the middle of the body.
    #[error("the body did not arrive in time")]
    BodyTimedOut,
    /// All bodies together hold what they may.
    #[error(
        "the server holds as many large request bodies as it may; try again later, or give it more \
         (--body-memory)"
    )]
    BodyMemory,
    /// All answers together hold what they may.
    #[error(
        "the server holds as many large answers as it may; try again later, or give it more (--body-memory)"
    )]
    AnswerMemory,
    /// The connection or its framing broke in the middle of the body.
    #[error("the body could not be read to its end")]
    BodyBroken(#[source] axum::Error),
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    JsonMalformed(#[source] serde_json::Error),
    /// A query parameter can't be read.
    #[error("query: {0}")]
    Query(String),
    /// A value is of the wrong type, or out of its range.
    #[error("{field}: {problem}")]
    Field {
        /// The field's name on the wire: `files[2].path`, or `the body` for all of it.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field that must be there is not, or is empty.
    #[error("{0} is required")]
    Required(&'static str),
    /// The path's id is none, so nothing can have it.
    #[error("Sandbox {0} not found")]
    SandboxUnknown(String),
    /// The path's id of a snapshot is none.
    #[error("Snapshot not found")]
    SnapshotUnknown,
    /// No route has this path.
    #[error("there is no {0}; see /openapi.json")]
    RouteUnknown(String),
    /// The path exists, with other methods.
    #[error("{0} is not allowed here; see the Allow header")]
    MethodNotAllowed(Method),
    /// See `origin.rs`.
    #[error("Host: {0:?} is not a name of this server; add it to the allowed hosts if it should be")]
    Host(String),
    /// See `origin.rs`.
    #[error("Origin: {0:?} is another site, which may not do this")]
    Origin(String),
}

impl Rejection {
    /// A field out of its range.
    pub(crate) fn field(field: impl Into<String>, problem: impl ToString) -> Self {
        Self::Field { field: field.into(), problem: problem.to_string() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_)
            | Self::BodyMissing
            | Self::BodyBroken(_)
            | Self::JsonMalformed(_)
            | Self::Query(_)
            | Self::Required(_)
            | Self::Field { .. } => StatusCode::BAD_REQUEST,
            Self::Host(_) | Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::SandboxUnknown(_) | Self::SnapshotUnknown | Self::RouteUnknown(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyMemory | Self::AnswerMemory => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let mut response = error_response(self.status(), self.to_string());
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

/// Answers a path that no route has. `CONNECT` has none: it names a host and a port (RFC 9110, section 9.3.6).
pub(crate) async fn route_unknown(request: Request) -> Rejection {
    let target = match request.uri().path() {
        "" => request.uri().to_string(),
        path => path.to_owned(),
    };
    Rejection::RouteUnknown(target)
}

/// Answers a method that a route does not have. The router adds the `Allow` header.
pub(crate) async fn method_not_allowed(method: Method) -> Rejection {
    Rejection::MethodNotAllowed(method)
}
