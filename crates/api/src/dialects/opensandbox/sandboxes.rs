//! Sandboxes themselves: make, list, look at, label, delete.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, StatusCode, header},
};
use engine::{Beginning, Engine};

use super::{
    DIALECT, convert,
    error::LifecycleError,
    sandbox::Named,
    types::{CreateSandboxRequest, ErrorResponse, ListSandboxesResponse, SandboxBody},
};
use crate::{
    caller::Asker,
    extract::{JsonBody, QueryParams},
    reject::Rejection,
};

/// Makes a sandbox. It runs when this answers.
#[utoipa::path(
    post,
    path = "/v1/sandboxes",
    tag = "opensandbox",
    request_body = CreateSandboxRequest,
    responses(
        (
            status = 202,
            description = "Made",
            body = SandboxBody,
            headers(("Location" = String, description = "Where it is found"))
        ),
        (status = 400, description = "The text names the field", body = ErrorResponse),
        (status = 409, description = "The snapshot can't be begun with, or a volume is being removed", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
        (
            status = 429,
            description = "Too many sandboxes",
            body = ErrorResponse,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
        (status = 503, description = "The storage is full", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_create(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    body: Result<JsonBody<CreateSandboxRequest>, Rejection>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<SandboxBody>), LifecycleError> {
    let JsonBody(request) = body?;
    let convert::Creation { spec, origin } = convert::creation(request, engine.settings())?;
    let beginning = Beginning { origin, ..Beginning::default() };
    let made = engine.sandbox_create_with(&caller, spec, beginning).await;
    let sandbox = made.map_err(LifecycleError::of_creation)?;
    let location = [(header::LOCATION, format!("/v1/sandboxes/{}", sandbox.id))];
    Ok((StatusCode::ACCEPTED, location, Json(convert::sandbox_body(&sandbox, false))))
}

/// Lists the key's sandboxes, the newest first. An administrator's key shows everybody's.
#[utoipa::path(
    get,
    path = "/v1/sandboxes",
    tag = "opensandbox",
    params(
        ("state" = Option<Vec<String>>, Query, description = "Any of these states; may be given several times"),
        ("metadata" = Option<String>, Query, description = "All of these labels: `k=v&k2=v2`, encoded"),
        ("page" = Option<u32>, Query, description = "From 1 on", minimum = 1),
        ("pageSize" = Option<u32>, Query, description = "Items on a page: 20", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page of them", body = ListSandboxesResponse),
        (status = 400, description = "The query is wrong", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    query: Result<QueryParams<Vec<(String, String)>>, Rejection>,
) -> Result<Json<ListSandboxesResponse>, LifecycleError> {
    let QueryParams(query) = query?;
    let filter = convert::SandboxFilter::of(&query)?;
    let sandboxes = engine.sandbox_list(&caller).await?;
    let fitting = sandboxes.iter().filter(|it| it.dialect == DIALECT && filter.fits(it)).collect();
    let (shown, pagination) = filter.page(fitting);
    let items = shown.into_iter().map(|sandbox| convert::sandbox_body(sandbox, true)).collect();
    Ok(Json(ListSandboxesResponse { items, pagination }))
}

/// Looks at a sandbox.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The sandbox", body = SandboxBody),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_get(named: Named) -> Json<SandboxBody> {
    Json(convert::sandbox_body(&named.sandbox, true))
}

/// Ends a sandbox and removes everything of it but its snapshots.
#[utoipa::path(
    delete,
    path = "/v1/sandboxes/{sandbox_id}",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 204, description = "Gone"),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn sandbox_delete(
    State(engine): State<Engine>,
    named: Named,
) -> Result<StatusCode, LifecycleError> {
    engine.sandbox_delete(&named.caller, named.id()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes labels: what is null goes (RFC 7396).
#[utoipa::path(
    patch,
    path = "/v1/sandboxes/{sandbox_id}/metadata",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = BTreeMap<String, Option<String>>,
    responses(
        (status = 200, description = "The sandbox", body = SandboxBody),
        (status = 400, description = "No label by the rules", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
    )
)]
pub(super) async fn metadata_patch(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonBody<BTreeMap<String, Option<String>>>, Rejection>,
) -> Result<Json<SandboxBody>, LifecycleError> {
    let JsonBody(patch) = body?;
    let patch = convert::metadata_patch(patch)?;
    let sandbox = engine.metadata_patch(&named.caller, named.id(), patch).await?;
    Ok(Json(convert::sandbox_body(&sandbox, true)))
}
