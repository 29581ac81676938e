//! `GET /health`: whether the server answers. Shared by all dialects, with the union of their fields.

use axum::Json;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{state::ApiState, timestamps::WireTimestamp};

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(health_get))
}

/// The server's health.
#[derive(Debug, Serialize, ToSchema)]
struct HealthBody {
    /// Always `ok`: a server that is not does not answer.
    #[schema(example = "ok")]
    status: &'static str,
    /// The word that clients of the sandbox service look for.
    #[schema(example = "sandbox-service")]
    service: &'static str,
    /// The server's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// The server's time.
    timestamp: WireTimestamp,
}

/// Whether the server answers.
#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    responses((status = 200, description = "It does", body = HealthBody))
)]
async fn health_get() -> Json<HealthBody> {
    Json(HealthBody {
        status: "ok",
        service: "sandbox-service",
        version: env!("CARGO_PKG_VERSION"),
        timestamp: WireTimestamp(Timestamp::now()),
    })
}
