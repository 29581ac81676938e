//! Snapshots: list them, and go back to one.

use axum::{
    Json,
    extract::{Path, State},
};
use engine::Engine;

use super::{
    DIALECT, convert,
    error::VmsError,
    machine::Machine,
    types::{MessageBody, SnapshotsBody},
};
use crate::{caller::Asker, error::ErrorBody};

/// Lists a machine's snapshots, in the order in which they were taken.
#[utoipa::path(
    get,
    path = "/vms/{name}/snapshots",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "The snapshots", body = SnapshotsBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_list(
    State(engine): State<Engine>,
    machine: Machine,
) -> Result<Json<SnapshotsBody>, VmsError> {
    let snapshots = engine.snapshot_list(&machine.caller, machine.id()).await;
    let snapshots = snapshots.map_err(|error| machine.failed(error))?;
    Ok(Json(convert::snapshots_body(&machine.vm, snapshots)))
}

/// Lists the snapshots of all of the key's machines, the newest first. An administrator's key shows everybody's.
#[utoipa::path(
    get,
    path = "/snapshots",
    tag = "vms",
    responses(
        (status = 200, description = "The snapshots", body = SnapshotsBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_list_all(
    State(engine): State<Engine>,
    Asker(caller): Asker,
) -> Result<Json<SnapshotsBody>, VmsError> {
    let snapshots = engine.snapshot_list_of_dialect(&caller, DIALECT).await?.into_iter();
    let snapshots = snapshots.map(|(vm, snapshot)| convert::snapshot_body(&vm, snapshot));
    Ok(Json(SnapshotsBody { snapshots: snapshots.collect() }))
}

/// Puts a machine's files back to what they were, and deletes the snapshots taken later.
///
/// What runs in the machine is ended.
#[utoipa::path(
    post,
    path = "/vms/{name}/snapshots/{snapshot}/restore",
    tag = "vms",
    params(
        ("name" = String, Path, description = "The machine"),
        ("snapshot" = String, Path, description = "The snapshot"),
    ),
    responses(
        (status = 200, description = "Restored", body = MessageBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine or snapshot", body = ErrorBody),
        (status = 409, description = "The machine ended meanwhile", body = ErrorBody),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "It can't be restored; the machine is as it was", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_restore(
    State(engine): State<Engine>,
    machine: Machine,
    Path(names): Path<(String, String)>,
) -> Result<Json<MessageBody>, VmsError> {
    let snapshot = names.1;
    let restored = engine.snapshot_restore_by_name(&machine.caller, machine.id(), &snapshot, true).await;
    restored.map_err(|error| VmsError::snapshot(machine.name(), &snapshot, error))?;
    Ok(Json(MessageBody { message: format!("Restored to snapshot \"{snapshot}\"") }))
}
