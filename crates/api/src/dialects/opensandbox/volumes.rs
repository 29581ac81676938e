//! Named volumes, beyond the specification: it makes them with sandboxes, and has no way to look at them or to be rid
//! of them.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use engine::Engine;

use super::{
    convert,
    error::LifecycleError,
    types::{ErrorResponse, ListVolumesResponse},
};
use crate::caller::Asker;

/// Lists the key's volumes, by name. An administrator's key shows everybody's.
#[utoipa::path(
    get,
    path = "/v1/volumes",
    tag = "opensandbox",
    responses((status = 200, description = "Volumes", body = ListVolumesResponse))
)]
pub(super) async fn volume_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
) -> Result<Json<ListVolumesResponse>, LifecycleError> {
    Ok(Json(convert::volume_bodies(engine.volume_list(&caller).await?)))
}

/// Removes a volume with all it holds, by its name or its id.
#[utoipa::path(
    delete,
    path = "/v1/volumes/{volume}",
    tag = "opensandbox",
    params(("volume" = String, Path, description = "A name of the key's own volumes, or an id")),
    responses(
        (status = 204, description = "Gone"),
        (status = 404, description = "There is no such volume", body = ErrorResponse),
        (status = 409, description = "A sandbox has it", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn volume_delete(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    Path(volume): Path<String>,
) -> Result<StatusCode, LifecycleError> {
    engine.volume_remove(&caller, &volume).await?;
    Ok(StatusCode::NO_CONTENT)
}
