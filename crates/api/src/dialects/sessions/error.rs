//! Errors as this dialect answers them: a status, and `{"error": "…"}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::{ErrorKind, FileProblem};

use crate::{
    error::{engine_error_response, error_response, server_error_text},
    reject::Rejection,
};

/// What no session has.
pub(super) const UNKNOWN: &str = "Session not found";

/// Why a request of this dialect failed.
#[derive(Debug)]
pub(super) enum SessionsError {
    /// The engine refused or failed.
    Engine(engine::Error),
    /// There is no such session, or it is another key's.
    Unknown,
    /// The session was idle for too long, or somebody ended it.
    Ended,
    /// The request is wrong, in the words of the document.
    Wrong(String),
    /// Larger than may be.
    TooLarge(String),
    /// Too much in a time; when to try again.
    TooMany { text: &'static str, retry_after_s: u64 },
    /// The request was wrong before anybody here saw it.
    Rejected(Rejection),
}

impl From<engine::Error> for SessionsError {
    fn from(error: engine::Error) -> Self {
        match (error.kind(), error.file_problem()) {
            (ErrorKind::NotFound, None) => Self::Unknown,
            _ => Self::Engine(error),
        }
    }
}

impl From<Rejection> for SessionsError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl SessionsError {
    /// What is told of it over a WebSocket.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Engine(error) => match error.kind() {
                ErrorKind::Internal | ErrorKind::LaunchFailed => server_error_text(error),
                _ => error.public().to_owned(),
            },
            Self::Unknown => UNKNOWN.to_owned(),
            Self::Ended => "Session has ended".to_owned(),
            Self::Wrong(text) | Self::TooLarge(text) => text.clone(),
            Self::TooMany { text, .. } => (*text).to_owned(),
            Self::Rejected(rejection) => rejection.to_string(),
        }
    }
}

impl IntoResponse for SessionsError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Engine(error) => {
                let text = error.file_problem().and_then(|problem| match problem {
                    FileProblem::NotFound => Some("File not found".to_owned()),
                    FileProblem::Folder => Some("Path is a directory".to_owned()),
                    _ => None,
                });
                return engine_error_response(error, text);
            }
            Self::Rejected(_) => {
                let Self::Rejected(rejection) = self else { return StatusCode::BAD_REQUEST.into_response() };
                return rejection.into_response();
            }
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Ended => StatusCode::CONFLICT,
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut response = error_response(status, self.text());
        if let Self::TooMany { retry_after_s, .. } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}
