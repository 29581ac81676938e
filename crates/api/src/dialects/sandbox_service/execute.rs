//! Running programs: the one of a sandbox, or one for which nothing is kept.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert::{self, BaseUrl, Bounds},
    error::ServiceError,
    types::{CreateRequest, ExecuteBody, RunBody},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{IdPath, JsonBody},
};

/// Runs a sandbox's program. May be repeated.
///
/// A program that fails, or is ended at a limit, is answered with 200 and `success: false`. The run goes on when
/// the client closes the connection: its result is kept with the sandbox.
#[utoipa::path(
    post,
    path = "/sandbox/{id}/execute",
    tag = "sandbox-service",
    params(("id" = Uuid, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "It ran, or runs on in persistent mode", body = ExecuteBody),
        (status = 400, description = "The sandbox has no program", body = ErrorBody),
        (status = 404, description = "There is no such sandbox", body = ErrorBody),
        (status = 409, description = "The sandbox ended while its program ran, or has none", body = ErrorBody),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 504, description = "The sandbox does not answer, and was ended", body = ErrorBody),
    )
)]
pub(super) async fn program_run(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    IdPath(id): IdPath,
    base: BaseUrl,
) -> Result<Json<ExecuteBody>, ServiceError> {
    let result = engine.program_run(&caller, id).await?;
    let program = match result.status {
        Some(_) => None,
        None => engine.sandbox_get(&caller, id).await?.program,
    };
    Ok(Json(ExecuteBody {
        sandbox_id: id,
        run: convert::run_body(result, program.map(|it| (it, id)), &base),
    }))
}

/// Runs a program in a sandbox of its own, of which nothing is kept. An extension.
///
/// The mode must be one-shot: what runs on needs a sandbox to run on in. The run ends when the client closes
/// the connection.
#[utoipa::path(
    post,
    path = "/execute",
    tag = "sandbox-service",
    request_body = CreateRequest,
    responses(
        (status = 200, description = "It ran", body = RunBody),
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
pub(super) async fn program_run_once(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    base: BaseUrl,
    JsonBody(request): JsonBody<CreateRequest>,
) -> Result<Json<RunBody>, ServiceError> {
    let spec = convert::sandbox_spec_once(request, &Bounds::from(engine.settings()))?;
    let result = engine.program_run_once(&caller, spec).await?;
    Ok(Json(convert::run_body(result, None, &base)))
}
