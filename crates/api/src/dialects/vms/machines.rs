//! Machines themselves: make, list, look at, delete.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use engine::Engine;

use super::{
    convert,
    error::VmsError,
    machine::{Machine, making_failed},
    types::{MessageBody, VmBody, VmInfoBody, VmRequest, VmsBody},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
    settings::ApiSettings,
};

/// Lists the key's machines, the newest first. An administrator's key shows everybody's.
#[utoipa::path(
    get,
    path = "/vms",
    tag = "vms",
    responses(
        (status = 200, description = "The machines", body = VmsBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
    )
)]
pub(super) async fn vm_list(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    Asker(caller): Asker,
) -> Result<Json<VmsBody>, VmsError> {
    Ok(Json(convert::vms_body(&engine.sandbox_list(&caller).await?, &settings.vms)))
}

/// Makes a machine. It is up when this answers, and its snapshot `initial` is taken.
#[utoipa::path(
    post,
    path = "/vms",
    tag = "vms",
    request_body = VmRequest,
    responses(
        (status = 201, description = "Made", body = VmBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 409, description = "The key has a machine of this name", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 429,
            description = "Too many machines",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "The storage is full, or there is no such user", body = ErrorBody),
    )
)]
pub(super) async fn vm_create(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    Asker(caller): Asker,
    body: Result<JsonBody<VmRequest>, Rejection>,
) -> Result<(StatusCode, Json<VmBody>), VmsError> {
    let spec = convert::vm_spec(or_default(body)?, engine.settings())?;
    let (failed, beginning) = (making_failed(&spec), convert::vm_beginning(&settings.vms));
    let vm = engine.sandbox_create_with(&caller, spec, beginning).await.map_err(failed)?;
    Ok((StatusCode::CREATED, Json(convert::vm_body(&vm, &settings.vms))))
}

/// Looks at a machine, and asks it whether it is there.
#[utoipa::path(
    get,
    path = "/vms/{name}",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "The machine", body = VmInfoBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
    )
)]
pub(super) async fn vm_get(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    machine: Machine,
) -> Result<Json<VmInfoBody>, VmsError> {
    let healthy = engine.agent_ping(&machine.caller, machine.id()).await;
    let healthy = healthy.map_err(|error| machine.failed(error))?;
    Ok(Json(convert::vm_info_body(&machine.vm, healthy, &settings.vms)))
}

/// Deletes a machine with all its snapshots, and ends what runs in it.
#[utoipa::path(
    delete,
    path = "/vms/{name}",
    tag = "vms",
    params(("name" = String, Path, description = "The machine")),
    responses(
        (status = 200, description = "Deleted", body = MessageBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
        (status = 404, description = "There is no such machine", body = ErrorBody),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
    )
)]
pub(super) async fn vm_delete(
    State(engine): State<Engine>,
    machine: Machine,
) -> Result<Json<MessageBody>, VmsError> {
    let deleted = engine.sandbox_delete(&machine.caller, machine.id()).await;
    deleted.map_err(|error| machine.failed(error))?;
    Ok(Json(MessageBody { message: format!("VM \"{}\" destroyed", machine.name()) }))
}
