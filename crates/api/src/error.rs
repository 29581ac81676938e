//! Error bodies, the statuses of the engine's errors, and the one place where one of its own making is logged.
//!
//! It must not know what a dialect calls things: those with words of their own give them.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::ErrorKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::request_id::RequestId;

/// The body of every response whose status is 400 or above.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong, and with which field.
    error: String,
}

/// What an error response says, beside its body: for dialects whose errors have another form.
#[derive(Clone, Debug)]
pub(crate) struct Said(pub(crate) String);

/// A response with `{"error": message}`.
pub(crate) fn error_response(status: StatusCode, message: impl Into<String>) -> Response {
    let error: String = message.into();
    let mut response = (status, Json(ErrorBody { error: error.clone() })).into_response();
    response.extensions_mut().insert(Said(error));
    response
}

/// Answers an engine error, with `text` instead of its own where the dialect has words of its own.
pub(crate) fn engine_error_response(error: &engine::Error, text: Option<String>) -> Response {
    let status = match error.kind() {
        ErrorKind::Invalid { .. } | ErrorKind::Refused => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::SandboxEnded => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::LaunchFailed | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = match text {
        Some(text) => text,
        None if status.is_server_error() => server_error_text(error),
        None => error.public().to_owned(),
    };
    let mut response = error_response(status, text);
    if let ErrorKind::Busy { retry_after_s } = error.kind() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    response
}

/// Logs an error that is not the client's and gives the text for the client, with the id to find it by in the
/// log. Call it once per error: this is the edge.
pub(crate) fn server_error_text(error: &engine::Error) -> String {
    let request_id = RequestId::current();
    tracing::error!(%request_id, ?error, "request failed");
    format!("{} (request {request_id})", error.public())
}
