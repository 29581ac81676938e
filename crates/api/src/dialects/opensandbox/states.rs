//! Changes of a sandbox's state: pause, resume, and when it ends.

use axum::{Json, extract::State, http::StatusCode};
use engine::{Engine, ErrorKind};
use jiff::Timestamp;

use super::{
    error::LifecycleError,
    sandbox::Named,
    types::{ErrorResponse, RenewRequest, RenewResponse},
};
use crate::{extract::JsonBody, reject::Rejection, timestamps::WireTimestamp};

/// Stops all its processes, their memory kept. They have stopped when this answers.
#[utoipa::path(
    post,
    path = "/v1/sandboxes/{sandbox_id}/pause",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 202, description = "Paused"),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It does not run", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_pause(
    State(engine): State<Engine>,
    named: Named,
) -> Result<StatusCode, LifecycleError> {
    engine.sandbox_pause(&named.caller, named.id()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Lets it go on where it was. It does when this answers.
#[utoipa::path(
    post,
    path = "/v1/sandboxes/{sandbox_id}/resume",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 202, description = "It runs"),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It is not paused", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_resume(
    State(engine): State<Engine>,
    named: Named,
) -> Result<StatusCode, LifecycleError> {
    engine.sandbox_resume(&named.caller, named.id()).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Has it end at another time.
#[utoipa::path(
    post,
    path = "/v1/sandboxes/{sandbox_id}/renew-expiration",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = RenewRequest,
    responses(
        (status = 200, description = "When it ends now", body = RenewResponse),
        (status = 400, description = "No time, or one that is past", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It has no time-out, or has ended", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
    )
)]
pub(super) async fn lease_renew(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonBody<RenewRequest>, Rejection>,
) -> Result<Json<RenewResponse>, LifecycleError> {
    let JsonBody(request) = body?;
    let until: Timestamp = request.expires_at.parse().map_err(|_| {
        LifecycleError::invalid("expiresAt", "is no time as RFC 3339 writes it: 2030-01-01T00:00:00Z")
    })?;
    match engine.lease_set(&named.caller, named.id(), until).await {
        Ok(()) => Ok(Json(RenewResponse { expires_at: WireTimestamp(until) })),
        Err(error) if matches!(error.kind(), ErrorKind::Invalid { .. }) => {
            Err(LifecycleError::invalid("expiresAt", "must lie in the future"))
        }
        Err(error) => Err(error.into()),
    }
}
