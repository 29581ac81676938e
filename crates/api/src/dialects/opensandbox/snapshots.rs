//! Snapshots: of a sandbox's files, whole when this API speaks of them. They stay when their sandbox goes.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
};
use engine::{Engine, SandboxState, SnapshotName, SnapshotSpec};
use protocol::SnapshotId;

use super::{
    convert,
    error::LifecycleError,
    sandbox::Named,
    types::{CreateSnapshotRequest, ErrorResponse, ListSnapshotsResponse, SnapshotBody},
};
use crate::{
    caller::Asker,
    extract::{JsonBody, QueryParams, or_default},
    reject::Rejection,
};

/// The longest name.
const NAME_BYTES_MAX: usize = 253;
/// How a snapshot is called that is given no name.
const NAME_DEFAULT: &str = "snapshot-";

/// Takes a snapshot of a sandbox that runs. It is ready, and on the disk, when this answers.
#[utoipa::path(
    post,
    path = "/v1/sandboxes/{sandbox_id}/snapshots",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = CreateSnapshotRequest,
    responses(
        (
            status = 202,
            description = "Taken",
            body = SnapshotBody,
            headers(("Location" = String, description = "Where it is found"))
        ),
        (status = 400, description = "The text names the field", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It does not run, or the name is taken", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
        (status = 429, description = "It has too many", body = ErrorResponse),
        (status = 503, description = "The storage is full", body = ErrorResponse),
    )
)]
pub(super) async fn snapshot_create(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonBody<CreateSnapshotRequest>, Rejection>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<SnapshotBody>), LifecycleError> {
    let spec = snapshot_spec(or_default(body)?)?;
    if named.sandbox.state != SandboxState::Running {
        let text = format!(
            "The sandbox is {}; only of one that runs snapshots are taken",
            convert::state_word(&named.sandbox)
        );
        return Err(engine::Error::new(engine::ErrorKind::Conflict, text).into());
    }
    let snapshot = engine.snapshot_create(&named.caller, named.id(), spec).await?;
    let location = [(header::LOCATION, format!("/v1/snapshots/{}", snapshot.id))];
    Ok((StatusCode::ACCEPTED, location, Json(convert::snapshot_body(&snapshot))))
}

fn snapshot_spec(request: CreateSnapshotRequest) -> Result<SnapshotSpec, LifecycleError> {
    let name = match request.name {
        None => SnapshotName::Timed(NAME_DEFAULT.to_owned()),
        Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) => {
            let problem = format!("must be 1 to {NAME_BYTES_MAX} bytes, without control characters");
            return Err(LifecycleError::invalid("name", problem));
        }
        Some(name) => SnapshotName::Given(name),
    };
    Ok(SnapshotSpec { outlives: true, ..SnapshotSpec::new(name) })
}

/// Lists the key's snapshots, the newest first. An administrator's key shows everybody's.
#[utoipa::path(
    get,
    path = "/v1/snapshots",
    tag = "opensandbox",
    params(
        ("sandboxId" = Option<String>, Query, description = "Of this sandbox"),
        ("name" = Option<String>, Query, description = "Of this name"),
        ("state" = Option<Vec<String>>, Query, description = "In any of these states; may be given several times"),
        ("page" = Option<u32>, Query, description = "From 1 on", minimum = 1),
        ("pageSize" = Option<u32>, Query, description = "Items on a page: 20", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "A page of them", body = ListSnapshotsResponse),
        (status = 400, description = "The query is wrong", body = ErrorResponse),
    )
)]
pub(super) async fn snapshot_list(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    query: Result<QueryParams<Vec<(String, String)>>, Rejection>,
) -> Result<Json<ListSnapshotsResponse>, LifecycleError> {
    let QueryParams(query) = query?;
    let filter = convert::SnapshotFilter::of(&query)?;
    let snapshots = engine.snapshot_list_all(&caller).await?;
    let (shown, pagination) = filter.page(snapshots.iter().rev().filter(|it| filter.fits(it)).collect());
    let items = shown.into_iter().map(convert::snapshot_body).collect();
    Ok(Json(ListSnapshotsResponse { items, pagination }))
}

/// Looks at a snapshot.
#[utoipa::path(
    get,
    path = "/v1/snapshots/{snapshot_id}",
    tag = "opensandbox",
    params(("snapshot_id" = String, Path, description = "The snapshot")),
    responses(
        (status = 200, description = "The snapshot", body = SnapshotBody),
        (status = 404, description = "There is no such snapshot", body = ErrorResponse),
    )
)]
pub(super) async fn snapshot_get(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    Path(id): Path<String>,
) -> Result<Json<SnapshotBody>, LifecycleError> {
    let snapshot = engine.snapshot_get(&caller, snapshot_id(&id)?).await?;
    Ok(Json(convert::snapshot_body(&snapshot)))
}

/// Deletes a snapshot.
#[utoipa::path(
    delete,
    path = "/v1/snapshots/{snapshot_id}",
    tag = "opensandbox",
    params(("snapshot_id" = String, Path, description = "The snapshot")),
    responses(
        (status = 204, description = "Gone"),
        (status = 404, description = "There is no such snapshot", body = ErrorResponse),
    )
)]
pub(super) async fn snapshot_delete(
    State(engine): State<Engine>,
    Asker(caller): Asker,
    Path(id): Path<String>,
) -> Result<StatusCode, LifecycleError> {
    engine.snapshot_remove(&caller, snapshot_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn snapshot_id(text: &str) -> Result<SnapshotId, engine::Error> {
    text.parse().map_err(|_| engine::Error::snapshot_not_found())
}
