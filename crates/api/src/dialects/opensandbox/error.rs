//! Errors as this API answers them: `{"code": "…", "message": "…"}`, whatever went wrong and wherever.

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use engine::{ErrorKind, VolumeProblem};

use super::types::ErrorResponse;
use crate::{
    auth::Refusal,
    error::{Said, server_error_text},
    reject::Rejection,
};

/// Why a request of this dialect failed.
#[derive(Debug)]
pub(super) struct LifecycleError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
}

impl LifecycleError {
    /// An error with a code of its own.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_s: None }
    }

    /// A wrong field of the request.
    pub(super) fn invalid(field: &str, problem: impl std::fmt::Display) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, code_of(status), format!("{field}: {problem}"))
    }

    /// Why a sandbox was not made. What it would begin with is named in the body, not by the path: without it the
    /// request is wrong.
    pub(super) fn of_creation(error: engine::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::invalid("snapshotId", error.public()),
            _ => error.into(),
        }
    }

    /// Something that this server does not have.
    pub(super) fn not_here(message: &str) -> Self {
        let status = StatusCode::NOT_IMPLEMENTED;
        Self::new(status, code_of(status), message)
    }
}

impl From<engine::Error> for LifecycleError {
    fn from(error: engine::Error) -> Self {
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
        let message =
            if status.is_server_error() { server_error_text(&error) } else { error.public().to_owned() };
        let retry_after_s = match error.kind() {
            ErrorKind::Busy { retry_after_s } => Some(retry_after_s),
            _ => None,
        };
        let code = error.volume_problem().map_or(code_of(status), volume_code);
        Self { retry_after_s, ..Self::new(status, code, message) }
    }
}

impl From<Rejection> for LifecycleError {
    fn from(rejection: Rejection) -> Self {
        let (status, message) = (rejection.status(), rejection.to_string());
        Self::new(status, code_of(status), message)
    }
}

impl IntoResponse for LifecycleError {
    fn into_response(self) -> Response {
        let mut response = body_response(self.status, self.code, self.message);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The code of errors that have none of their own.
fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "FORBIDDEN",
        StatusCode::NOT_FOUND => "NOT_FOUND",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        StatusCode::REQUEST_TIMEOUT => "REQUEST_TIMEOUT",
        StatusCode::CONFLICT => "CONFLICT",
        StatusCode::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
        StatusCode::TOO_MANY_REQUESTS => "TOO_MANY_REQUESTS",
        StatusCode::NOT_IMPLEMENTED => "NOT_IMPLEMENTED",
        StatusCode::SERVICE_UNAVAILABLE => "SERVICE_UNAVAILABLE",
        StatusCode::GATEWAY_TIMEOUT => "TIMEOUT",
        status if status.is_server_error() => "INTERNAL_ERROR",
        _ => "INVALID_REQUEST",
    }
}

/// The code of errors about volumes, as the original has them.
pub(super) fn volume_code(problem: VolumeProblem) -> &'static str {
    match problem {
        VolumeProblem::HostPathNotAllowed => "VOLUME::HOST_PATH_NOT_ALLOWED",
        VolumeProblem::HostPathNotFound => "VOLUME::HOST_PATH_NOT_FOUND",
        VolumeProblem::HostPathUnfit => "VOLUME::INVALID_HOST_PATH",
        VolumeProblem::NotFound => "VOLUME::PVC_NOT_FOUND",
        VolumeProblem::SubPath => "VOLUME::INVALID_SUB_PATH",
        VolumeProblem::Target => "VOLUME::INVALID_MOUNT_PATH",
    }
}

fn body_response(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(ErrorResponse { code: code.to_owned(), message })).into_response()
}

/// Answers whoever is not let in.
pub(super) fn refusal_response(refusal: Refusal) -> Response {
    let status = refusal.status();
    refusal.headers_add(body_response(status, code_of(status), refusal.to_string()))
}

/// Gives errors that were made where nobody knows of dialects this dialect's form.
pub(super) async fn errors_shape(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<Said>() {
        None => response,
        Some(Said(message)) => {
            let status = response.status();
            let mut shaped = body_response(status, code_of(status), message);
            for (name, value) in response.headers() {
                if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
                    shaped.headers_mut().append(name, value.clone());
                }
            }
            shaped
        }
    }
}
