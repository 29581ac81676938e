//! Error bodies, and the one place where an error of the engine's own making is logged.
//!
//! Which status an engine error gets is each dialect's decision, not made here.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request_id::RequestId;

/// The body of every response whose status is 400 or above.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What is wrong, and with which field.
    error: String,
}

/// A response with `{"error": message}`.
pub(crate) fn error_response(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(ErrorBody { error: message.into() })).into_response()
}

/// Logs an error that is not the client's and gives the text for the client, with the id to find it by in the
/// log. Call it once per error: this is the edge.
pub(crate) fn server_error_text(error: &engine::Error) -> String {
    let request_id = RequestId::current();
    tracing::error!(%request_id, ?error, "request failed");
    format!("{} (request {request_id})", error.public())
}
