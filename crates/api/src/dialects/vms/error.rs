//! Errors as this dialect answers them: a status, and `{"error": "…"}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::ErrorKind;

use crate::{
    auth::Refusal,
    error::{error_response, server_error_text},
    reject::Rejection,
};

/// Why a request of this dialect failed.
#[derive(Debug)]
pub(super) enum VmsError {
    /// The engine refused or failed.
    Engine(engine::Error),
    /// The request was wrong before the engine saw it.
    Rejected(Rejection),
}

impl From<engine::Error> for VmsError {
    fn from(error: engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Rejection> for VmsError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl IntoResponse for VmsError {
    fn into_response(self) -> Response {
        match self {
            Self::Engine(error) => engine_error_response(&error),
            Self::Rejected(rejection) => rejection.into_response(),
        }
    }
}

/// Answers whoever is not let in. A wrong key is 403 here, where others have 401.
pub(super) fn refusal_response(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Invalid => refusal.respond_with(StatusCode::FORBIDDEN),
        other => other.respond(),
    }
}

fn engine_error_response(error: &engine::Error) -> Response {
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
    let text = if status.is_server_error() { server_error_text(error) } else { error.public().to_owned() };
    let mut response = error_response(status, text);
    if let ErrorKind::Busy { retry_after_s } = error.kind() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_is_401_and_a_wrong_one_403() {
        assert_eq!(refusal_response(Refusal::Missing).status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refusal_response(Refusal::Invalid).status(), StatusCode::FORBIDDEN);
        let many = refusal_response(Refusal::TooMany { retry_after_s: 9 });
        assert_eq!(
            (many.status(), &many.headers()[header::RETRY_AFTER]),
            (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(9))
        );
    }
}
