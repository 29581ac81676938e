//! What a sandbox's program has written.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert,
    error::ServiceError,
    types::{LogLineBody, LogQuery},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{IdPath, QueryParams},
};

/// The last lines of a sandbox's log, oldest first.
#[utoipa::path(
    get,
    path = "/admin/api/sandboxes/{id}/logs",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox"), LogQuery),
    responses(
        (status = 200, description = "The lines", body = [LogLineBody]),
        (status = 400, description = "The query is wrong", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
    )
)]
pub(super) async fn log_tail(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    QueryParams(query): QueryParams<LogQuery>,
) -> Result<Json<Vec<LogLineBody>>, ServiceError> {
    let lines = engine.log_tail(&caller, id, query.lines).await?;
    Ok(Json(lines.into_iter().map(|line| convert::log_line_body(line, id)).collect()))
}
