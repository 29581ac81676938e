//! What is done in a machine's workspace: commands, emptying it, and filling it from an archive.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use engine::{Archive, Engine, IMPORT_MEMORY_BYTES};

use super::{
    convert,
    error::VmsError,
    machine::Machine,
    types::{CommandBody, CommandRequest, MessageBody, SnapshotBody},
};
use crate::{
    body_reader::body_stream,
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
    settings::ApiSettings,
};

/// Runs a command in a fresh shell in the workspace, and takes a snapshot after it, however it ended.
///
/// A command that fails, or takes too long, is answered with 200. It goes on when the client closes the
/// connection. Commands of one machine follow each other.
#[utoipa::path(
    post,
    path = "/vms/{name}/run",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    request_body = CommandRequest,
    responses(
        (status = 200, description = "It ran", body = CommandBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
        (status = 409, description = "The machine ended while the command ran", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 429,
            description = "Too many machines run, or the machine has too many snapshots",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "It ran, and there was no room for the snapshot", body = ErrorBody),
    )
)]
pub(super) async fn command_run(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    machine: Machine,
    body: Result<JsonBody<CommandRequest>, Rejection>,
) -> Result<Json<CommandBody>, VmsError> {
    let (command, snapshot) = convert::command_spec(or_default(body)?, engine.settings())?;
    let user = settings.vms.user.clone();
    let ran = engine.command_run_as(&machine.caller, machine.id(), user, command, Some(snapshot)).await;
    Ok(Json(convert::command_body(ran.map_err(|error| machine.failed(error))?)))
}

/// Empties a machine's workspace. Its snapshots stay, and none is taken.
#[utoipa::path(
    post,
    path = "/vms/{name}/wipe",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "Emptied", body = MessageBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
        (status = 409, description = "The machine ended meanwhile", body = ErrorBody),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
    )
)]
pub(super) async fn workspace_wipe(
    State(engine): State<Engine>,
    machine: Machine,
) -> Result<Json<MessageBody>, VmsError> {
    let wiped = engine.work_folder_wipe(&machine.caller, machine.id()).await;
    wiped.map_err(|error| machine.failed(error))?;
    Ok(Json(MessageBody { message: "Workspace wiped".to_owned() }))
}

/// Replaces what is in a machine's workspace by the content of an archive, and takes a snapshot of that.
///
/// The body is a tar stream in zstd frames, as an export has it or `tar --zstd` makes it. An archive that is refused, or
/// breaks off, changes nothing. A machine that has stopped is started. An extension.
#[utoipa::path(
    post,
    path = "/vms/{name}/import",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    request_body(content = String, content_type = "application/zstd", description = "The archive"),
    responses(
        (status = 201, description = "Imported; the snapshot of it", body = SnapshotBody),
        (status = 400, description = "The archive is refused; the text names the entry", body = ErrorBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
        (status = 408, description = "The archive did not arrive in time", body = ErrorBody),
        (status = 409, description = "The machine ended meanwhile", body = ErrorBody),
        (status = 413, description = "The archive does not fit into the machine's disk", body = ErrorBody),
        (
            status = 429,
            description = "Too many machines run, or the machine has too many snapshots",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "The storage is full, or the server is short of memory", body = ErrorBody),
        (status = 504, description = "It took too long", body = ErrorBody),
    )
)]
pub(super) async fn workspace_import(
    State(engine): State<Engine>,
    machine: Machine,
    request: Request,
) -> Result<(StatusCode, Json<SnapshotBody>), VmsError> {
    let length_max = machine.vm.limits.disk_bytes;
    let (body, trouble) = body_stream(request, length_max, IMPORT_MEMORY_BYTES).await?;
    let snapshot = convert::import_snapshot();
    let imported =
        engine.work_folder_import(&machine.caller, machine.id(), Archive::new(body), snapshot).await;
    let snapshot = imported.map_err(|error| match trouble.take() {
        Some(rejection) => VmsError::from(rejection),
        None => machine.failed(error),
    })?;
    Ok((StatusCode::CREATED, Json(convert::snapshot_body(&machine.vm, snapshot))))
}
