//! Snapshots of a sandbox's files, and new sandboxes from them. Extensions of the document.

use axum::{Json, extract::State, http::StatusCode};
use engine::Engine;

use super::{
    convert::{self, BaseUrl},
    error::ServiceError,
    types::{ForkRequest, KeepRequest, KeptBody, SandboxBody},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{IdPath, JsonBody, SnapshotPath},
};

/// Takes a snapshot of a sandbox's files, running or not. It is on the disk when this answers.
#[utoipa::path(
    post,
    path = "/admin/api/sandboxes/{id}/snapshots",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    request_body = KeepRequest,
    responses(
        (status = 201, description = "Taken", body = KeptBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
        (status = 409, description = "The name is taken, or the sandbox has no files yet", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (status = 503, description = "The storage is full", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_create(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    JsonBody(request): JsonBody<KeepRequest>,
) -> Result<(StatusCode, Json<KeptBody>), ServiceError> {
    let snapshot = engine.snapshot_create(&caller, id, convert::snapshot_spec(request)?).await?;
    Ok((StatusCode::CREATED, Json(convert::snapshot_body(&snapshot))))
}

/// Lists a sandbox's snapshots, in the order in which they were taken.
#[utoipa::path(
    get,
    path = "/admin/api/sandboxes/{id}/snapshots",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The snapshots", body = [KeptBody]),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
) -> Result<Json<Vec<KeptBody>>, ServiceError> {
    let snapshots = engine.snapshot_list(&caller, id).await?;
    Ok(Json(snapshots.iter().map(convert::snapshot_body).collect()))
}

/// Puts a sandbox's files back to what a snapshot holds. All snapshots stay.
#[utoipa::path(
    post,
    path = "/admin/api/sandboxes/{id}/snapshots/{snapshot}/restore",
    tag = "sandbox-service",
    params(
        ("id" = Uuid, Path, description = "The sandbox"),
        ("snapshot" = Uuid, Path, description = "The snapshot"),
    ),
    responses(
        (status = 204, description = "Restored"),
        (status = 404, description = "There is no such sandbox, or no such snapshot of it", body = ErrorBody),
        (status = 409, description = "Its program runs", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_restore(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    SnapshotPath(id, snapshot): SnapshotPath,
) -> Result<StatusCode, ServiceError> {
    engine.snapshot_restore(&caller, id, snapshot, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a snapshot.
#[utoipa::path(
    delete,
    path = "/admin/api/sandboxes/{id}/snapshots/{snapshot}",
    tag = "sandbox-service",
    params(
        ("id" = Uuid, Path, description = "The sandbox"),
        ("snapshot" = Uuid, Path, description = "The snapshot"),
    ),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "There is no such sandbox, or no such snapshot of it", body = ErrorBody),
    )
)]
pub(super) async fn snapshot_delete(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    SnapshotPath(id, snapshot): SnapshotPath,
) -> Result<StatusCode, ServiceError> {
    engine.snapshot_delete(&caller, id, snapshot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new sandboxes with the files of one that exists, all of them up, or none.
#[utoipa::path(
    post,
    path = "/admin/api/sandboxes/{id}/fork",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    request_body = ForkRequest,
    responses(
        (status = 201, description = "Made", body = [SandboxBody]),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
        (status = 409, description = "It has no files yet, or is in the middle of something", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 429,
            description = "Too many sandboxes",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 503, description = "The storage is full", body = ErrorBody),
    )
)]
pub(super) async fn sandbox_fork(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    base: BaseUrl,
    JsonBody(request): JsonBody<ForkRequest>,
) -> Result<(StatusCode, Json<Vec<SandboxBody>>), ServiceError> {
    let forks = engine.sandbox_fork(&caller, id, request.count.unwrap_or(1)).await?;
    let forks = forks.iter().map(|sandbox| convert::sandbox_body(sandbox, &base)).collect();
    Ok((StatusCode::CREATED, Json(forks)))
}
