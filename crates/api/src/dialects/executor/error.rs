//! Errors as the executor has them: a status and text.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::ErrorKind;

use crate::{auth::Refusal, error::server_error_text, inside::Broken};

/// Why a request did not get into a sandbox.
#[derive(Debug)]
pub(super) enum ExecutorError {
    /// Who asks may not.
    Refused(Refusal),
    /// Another reason.
    Failed {
        /// The status.
        status: StatusCode,
        /// What is told.
        text: String,
        /// When to try again.
        retry_after_s: Option<u32>,
    },
}

impl ExecutorError {
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Sandbox not found")
    }

    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self::Failed { status, text: text.into(), retry_after_s: None }
    }
}

impl From<engine::Error> for ExecutorError {
    fn from(error: engine::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => return Self::not_found(),
            ErrorKind::Invalid { .. } | ErrorKind::TooLarge => StatusCode::BAD_REQUEST,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Refused | ErrorKind::Unavailable | ErrorKind::SandboxEnded => StatusCode::BAD_GATEWAY,
            ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::LaunchFailed | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let retry_after_s = match error.kind() {
            ErrorKind::Busy { retry_after_s } => Some(retry_after_s),
            _ => None,
        };
        let is_ours = status == StatusCode::INTERNAL_SERVER_ERROR;
        let text = if is_ours { server_error_text(&error) } else { error.public().to_owned() };
        Self::Failed { status, text, retry_after_s }
    }
}

impl From<Broken> for ExecutorError {
    fn from(broken: Broken) -> Self {
        let status = match broken {
            Broken::Path => StatusCode::BAD_REQUEST,
            Broken::NoAnswer | Broken::Protocol => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, broken.to_string())
    }
}

impl IntoResponse for ExecutorError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => {
                let status = refusal.status();
                let text = match status {
                    StatusCode::UNAUTHORIZED => "Unauthorized".to_owned(),
                    _ => refusal.to_string(),
                };
                refusal.headers_add((status, text).into_response())
            }
            Self::Failed { status, text, retry_after_s } => {
                let mut response = (status, text).into_response();
                if let Some(seconds) = retry_after_s {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                }
                response
            }
        }
    }
}
