//! The audit trail: what happened to sandboxes, and who did it.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert,
    error::ServiceError,
    types::{EventBody, EventQuery},
};
use crate::{caller::Asker, error::ErrorBody, extract::QueryParams};

/// The latest events, the newest first. An administrator's key sees all, any other those of its own sandboxes.
#[utoipa::path(
    get,
    path = "/admin/api/events",
    tag = "sandbox-service",
    params(EventQuery),
    responses(
        (status = 200, description = "The events", body = [EventBody]),
        (status = 400, description = "The query is wrong", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
    )
)]
pub(super) async fn event_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    QueryParams(query): QueryParams<EventQuery>,
) -> Result<Json<Vec<EventBody>>, ServiceError> {
    let events = engine.event_list(&caller, convert::event_query(&query)?).await?;
    Ok(Json(events.into_iter().map(convert::event_body).collect()))
}
