//! What the machine does that sessions run on.

use axum::{Json, extract::State};
use engine::Engine;

use super::{convert, error::SessionsError, types::StatsBody};
use crate::{caller::Asker, error::ErrorBody};

/// Shows how busy the machine is.
#[utoipa::path(
    get,
    path = "/api/system/stats",
    tag = "sessions",
    responses(
        (status = 200, description = "Of the whole machine", body = StatsBody),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
    )
)]
pub(super) async fn stats_get(
    State(engine): State<Engine>,
    _: Asker,
) -> Result<Json<StatsBody>, SessionsError> {
    Ok(Json(convert::stats_body(engine.machine_stats().await?)))
}
