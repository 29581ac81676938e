//! Errors as this dialect answers them: a status, and `{"error": "…"}`.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use engine::ErrorKind;

use crate::{
    auth::Refusal,
    error::{engine_error_response, error_response},
    reject::Rejection,
};

/// Why a request of this dialect failed.
#[derive(Debug)]
pub(super) enum VmsError {
    /// The engine refused or failed.
    Engine(engine::Error),
    /// The same, and it was about this machine.
    Vm { name: String, error: engine::Error },
    /// There is a machine of this name.
    VmExists(String),
    /// There is no snapshot of this name.
    SnapshotUnknown(String),
    /// The request was wrong before the engine saw it.
    Rejected(Rejection),
}

impl VmsError {
    /// An engine error about a machine.
    pub(super) fn vm(name: &str, error: engine::Error) -> Self {
        Self::Vm { name: name.to_owned(), error }
    }

    /// An engine error about a snapshot of a machine. Where the machine has gone, so has the snapshot.
    pub(super) fn snapshot(vm: &str, snapshot: &str, error: engine::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::SnapshotUnknown(snapshot.to_owned()),
            _ => Self::vm(vm, error),
        }
    }
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
            Self::Engine(error) => engine_error_response(&error, None),
            Self::Vm { name, error } => {
                let text = match error.kind() {
                    ErrorKind::NotFound => Some(format!("VM \"{name}\" not found")),
                    ErrorKind::SandboxEnded => Some(format!("VM \"{name}\" ended while the request ran")),
                    _ => None,
                };
                engine_error_response(&error, text)
            }
            Self::VmExists(name) => {
                error_response(StatusCode::CONFLICT, format!("VM \"{name}\" already exists"))
            }
            Self::SnapshotUnknown(name) => {
                error_response(StatusCode::NOT_FOUND, format!("Snapshot \"{name}\" not found"))
            }
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

#[cfg(test)]
mod tests {
    use axum::{
        body::to_bytes,
        http::{HeaderValue, header},
    };
    use engine::Error;
    use serde_json::{Value, json};

    use super::*;

    async fn answer(error: VmsError) -> (u16, Value) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn what_is_not_there_is_named_as_the_client_named_it() {
        let none = || Error::sandbox_not_found("some-id");
        let error = |text: &str| json!({"error": text});
        assert_eq!(answer(VmsError::vm("x", none())).await, (404, error("VM \"x\" not found")));
        assert_eq!(
            answer(VmsError::snapshot("x", "y", none())).await,
            (404, error("Snapshot \"y\" not found"))
        );
        assert_eq!(answer(VmsError::VmExists("x".to_owned())).await, (409, error("VM \"x\" already exists")));
        let ended = Error::new(ErrorKind::SandboxEnded, "The sandbox was stopped on request of key:7");
        assert_eq!(
            answer(VmsError::vm("x", ended)).await,
            (409, error("VM \"x\" ended while the request ran"))
        );
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let full = Error::new(ErrorKind::Unavailable, "The snapshot could not be taken: the storage is full");
        let (status, body) = answer(VmsError::vm("x", full)).await;
        assert_eq!(status, 503);
        assert!(body["error"].as_str().unwrap().contains("the storage is full"), "{body}");
    }

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
