//! Snapshots: list them, go back to one, and take one out.

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderName, HeaderValue, header},
};
use engine::Engine;
use futures::TryStreamExt;

use super::{
    DIALECT, convert,
    error::VmsError,
    machine::Machine,
    types::{MessageBody, SnapshotsBody},
};
use crate::{caller::Asker, error::ErrorBody, request_id::RequestId};

/// What an archive says it is.
const ARCHIVE_TYPE: &str = "application/zstd";

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
    let snapshots = snapshots.filter(|(vm, _)| convert::is_machine(vm));
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

/// Sends what the workspace held when a snapshot was taken, as a compressed tar stream.
///
/// The machine is not disturbed, and may run or not. The archive has owners, modes, times, extended attributes and links;
/// without sockets and devices. If something goes wrong in the middle, the connection breaks. An extension.
#[utoipa::path(
    get,
    path = "/vms/{name}/snapshots/{snapshot}/export",
    tag = "vms",
    params(
        ("name" = String, Path, description = "The machine"),
        ("snapshot" = String, Path, description = "The snapshot"),
    ),
    responses(
        (
            status = 200,
            description = "The archive",
            content_type = "application/zstd",
            body = String,
            headers(("Content-Disposition" = String, description = "What to call it"))
        ),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine or snapshot", body = ErrorBody),
        (status = 409, description = "The snapshot has what no archive can hold", body = ErrorBody),
        (
            status = 429,
            description = "Too many machines run, or too many exports",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "The storage is full", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_export(
    State(engine): State<Engine>,
    machine: Machine,
    Path(names): Path<(String, String)>,
) -> Result<([(HeaderName, HeaderValue); 2], Body), VmsError> {
    let snapshot = names.1;
    let archive = engine.snapshot_export(&machine.caller, machine.id(), &snapshot).await;
    let archive = archive.map_err(|error| VmsError::snapshot(machine.name(), &snapshot, error))?;
    let request_id = RequestId::current();
    let archive =
        archive.inspect_err(move |error| tracing::error!(%request_id, ?error, "an export broke off"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(ARCHIVE_TYPE)),
        (header::CONTENT_DISPOSITION, convert::archive_disposition(machine.name(), &snapshot)),
    ];
    Ok((headers, Body::from_stream(archive)))
}
