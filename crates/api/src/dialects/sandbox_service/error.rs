//! Engine errors as this dialect answers them: a status, and `{"error": "…"}`.

use axum::response::{IntoResponse, Response};
use engine::ErrorKind;

use super::convert;
use crate::{error::engine_error_response, reject::Rejection};

/// Why a request of this dialect failed.
#[derive(Debug)]
pub(super) enum ServiceError {
    /// The engine refused or failed.
    Engine(engine::Error),
    /// The request was wrong before the engine saw it.
    Rejected(Rejection),
}

impl From<engine::Error> for ServiceError {
    fn from(error: engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Rejection> for ServiceError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        match self {
            Self::Engine(error) => {
                let text = match error.kind() {
                    ErrorKind::Invalid { field } => Some(convert::invalid_text(field, error.public())),
                    _ => None,
                };
                engine_error_response(&error, text)
            }
            Self::Rejected(rejection) => rejection.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::to_bytes,
        http::{StatusCode, header},
    };
    use engine::Error;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(error: impl Into<ServiceError>) -> (u16, Value) {
        let response = error.into().into_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn client_errors_show_their_text() {
        let cases = [
            (ErrorKind::NotFound, 404),
            (ErrorKind::Conflict, 409),
            (ErrorKind::SandboxEnded, 409),
            (ErrorKind::TooLarge, 413),
            (ErrorKind::Refused, 400),
        ];
        for (kind, status) in cases {
            assert_eq!(answer(Error::new(kind, "why")).await, (status, json!({"error": "why"})));
        }
        assert_eq!(
            answer(Rejection::field("code", "is empty")).await,
            (400, json!({"error": "code: is empty"}))
        );
    }

    #[tokio::test]
    async fn engine_fields_get_their_wire_names() {
        let error = Error::invalid("memory", "is too small");
        assert_eq!(answer(error).await, (400, json!({"error": "memory_limit_mb: is too small"})));
    }

    #[tokio::test]
    async fn server_errors_never_show_their_cause() {
        let cause = || std::io::Error::other("/var/lib/secret");
        for (kind, status) in
            [(ErrorKind::LaunchFailed, 500), (ErrorKind::Unavailable, 503), (ErrorKind::TimedOut, 504)]
        {
            let (got, body) = answer(Error::new(kind, "why").caused_by(cause())).await;
            assert_eq!((got, body.clone()), (status, json!({"error": "why (request )"})));
        }
        assert_eq!(
            answer(Error::internal(cause())).await,
            (500, json!({"error": "Internal error (request )"}))
        );
    }

    #[test]
    fn busy_says_when_to_try_again() {
        let response =
            ServiceError::from(Error::new(ErrorKind::Busy { retry_after_s: 7 }, "full")).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "7");
    }
}
