//! Sandboxes themselves: create, list, look at, delete.

use axum::{Json, extract::State, http::StatusCode};
use engine::Engine;

use super::{
    convert::{self, BaseUrl, Bounds},
    error::ServiceError,
    types::{CreateRequest, SandboxBody},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{IdPath, JsonBody},
};

/// Creates a sandbox for a program.
#[utoipa::path(
    post,
    path = "/sandbox",
    tag = "sandbox-service",
    request_body = CreateRequest,
    responses(
        (status = 200, description = "Created", body = SandboxBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 429,
            description = "Too many sandboxes",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (
            status = 503,
            description = "The server holds as many large bodies as it may",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
    )
)]
pub(super) async fn sandbox_create(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    base: BaseUrl,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<SandboxBody>, ServiceError> {
    let spec = convert::sandbox_spec(request, &Bounds::from(engine.settings()))?;
    let sandbox = engine.sandbox_create(&caller, spec).await?;
    Ok(Json(convert::sandbox_body(&sandbox, &base)))
}

/// Lists sandboxes, the newest first.
#[utoipa::path(
    get,
    path = "/sandboxes",
    tag = "sandbox-service",
    responses((status = 200, description = "All sandboxes", body = [SandboxBody]))
)]
pub(super) async fn sandbox_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    base: BaseUrl,
) -> Result<Json<Vec<SandboxBody>>, ServiceError> {
    let sandboxes = engine.sandbox_list(&caller).await?;
    Ok(Json(sandboxes.iter().map(|sandbox| convert::sandbox_body(sandbox, &base)).collect()))
}

/// Lists sandboxes, as `GET /sandboxes` does. An extension.
#[utoipa::path(
    get,
    path = "/sandbox",
    tag = "sandbox-service",
    responses((status = 200, description = "All sandboxes", body = [SandboxBody]))
)]
pub(super) async fn sandbox_list_short(
    engine: State<Engine>,
    asker: Asker,
    base: BaseUrl,
) -> Result<Json<Vec<SandboxBody>>, ServiceError> {
    sandbox_list(engine, asker, base).await
}

/// Looks at a sandbox.
#[utoipa::path(
    get,
    path = "/sandbox/{id}",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The sandbox", body = SandboxBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
    )
)]
pub(super) async fn sandbox_get(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    base: BaseUrl,
) -> Result<Json<SandboxBody>, ServiceError> {
    let sandbox = engine.sandbox_get(&caller, id).await?;
    Ok(Json(convert::sandbox_body(&sandbox, &base)))
}

/// Deletes a sandbox with all that is in it, and ends what runs in it.
#[utoipa::path(
    delete,
    path = "/sandbox/{id}",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
    )
)]
pub(super) async fn sandbox_delete(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
) -> Result<StatusCode, ServiceError> {
    engine.sandbox_delete(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
