//! What is about the server and no sandbox: health, version, what clients tell of their waiting.

use axum::{Json, http::StatusCode};

use super::{
    error::LifecycleError,
    types::{ErrorResponse, LifecycleHealthBody, MetricsEvent, VersionBody},
};
use crate::{extract::JsonBody, reject::Rejection};

/// Whether the server answers.
#[utoipa::path(
    get,
    path = "/v1/health",
    tag = "opensandbox",
    responses((status = 200, description = "It does", body = LifecycleHealthBody))
)]
pub(super) async fn health_get() -> Json<LifecycleHealthBody> {
    Json(LifecycleHealthBody { status: "healthy" })
}

/// The server's version.
#[utoipa::path(
    get,
    path = "/version",
    tag = "opensandbox",
    responses((status = 200, description = "The version", body = VersionBody))
)]
pub(super) async fn version_get() -> Json<VersionBody> {
    version()
}

/// The server's version.
#[utoipa::path(
    get,
    path = "/v1/version",
    tag = "opensandbox",
    responses((status = 200, description = "The version", body = VersionBody))
)]
pub(super) async fn version_get_below() -> Json<VersionBody> {
    version()
}

fn version() -> Json<VersionBody> {
    Json(VersionBody { version: env!("CARGO_PKG_VERSION") })
}

/// Takes note of how long a client waited for a sandbox. It goes to the server's log.
#[utoipa::path(
    post,
    path = "/v1/metrics/events",
    tag = "opensandbox",
    request_body = MetricsEvent,
    responses(
        (status = 204, description = "Noted"),
        (status = 400, description = "The text names the field", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
    )
)]
pub(super) async fn metrics_event(
    body: Result<JsonBody<MetricsEvent>, Rejection>,
) -> Result<StatusCode, LifecycleError> {
    let JsonBody(event) = body?;
    if event.event_type != "sandbox.create" {
        return Err(LifecycleError::invalid("eventType", "must be sandbox.create"));
    }
    let (sandbox, image) = (event.sandbox_id.as_deref(), event.image.as_deref());
    tracing::debug!(
        sandbox,
        image,
        ms = event.create_duration_ms,
        success = event.success,
        "a client made a sandbox"
    );
    Ok(StatusCode::NO_CONTENT)
}
