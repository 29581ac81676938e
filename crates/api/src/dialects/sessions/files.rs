//! Files of a session's workspace: the tree, reading, writing, deleting.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use engine::{Engine, TreeLimits};

use super::{
    convert,
    error::SessionsError,
    session::{Session, read, required, workspace},
    types::{ContentBody, ContentRequest, NodeBody, PathQuery, SUCCESS, SuccessBody},
};
use crate::{
    error::ErrorBody,
    extract::{JsonBody, QueryParams, or_default},
    reject::Rejection,
    settings::ApiSettings,
};

const PATH_REQUIRED: &str = "File path is required";
/// What a tree shows at most: what lies near the top comes first.
const TREE_LIMITS: TreeLimits = TreeLimits { entries_max: 100_000, bytes_max: 16 << 20 };
/// Entries that are left out because their names are no UTF-8.
const OMITTED: HeaderName = HeaderName::from_static("x-entries-omitted");
/// `true` where there is more than a tree shows.
const TRUNCATED: HeaderName = HeaderName::from_static("x-tree-truncated");

/// Shows the tree of the workspace.
#[utoipa::path(
    get,
    path = "/api/files/{session_id}/tree",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    responses(
        (
            status = 200,
            description = "Folders first, then by name",
            body = Vec<NodeBody>,
            headers(
                ("X-Entries-Omitted" = u32, description = "Left out: their names are no UTF-8"),
                ("X-Tree-Truncated" = bool, description = "There is more than 100,000 entries"),
            )
        ),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn tree_get(
    State(engine): State<Engine>,
    session: Session,
) -> Result<(HeaderMap, Json<Vec<NodeBody>>), SessionsError> {
    let _in_use = session.awake(&engine).await?;
    let tree = engine.workspace_tree(&session.caller, session.id(), workspace()?, TREE_LIMITS).await?;
    let mut headers = HeaderMap::new();
    if !tree.is_whole {
        headers.insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    let (nodes, omitted) = convert::tree_body(tree);
    if omitted > 0 {
        headers.insert(OMITTED, HeaderValue::from(omitted));
    }
    Ok((headers, Json(nodes)))
}

/// Reads a file.
#[utoipa::path(
    get,
    path = "/api/files/{session_id}/content",
    tag = "sessions",
    params(
        ("session_id" = String, Path, description = "The session"),
        ("path" = String, Query, description = "The file, from the workspace on"),
    ),
    responses(
        (status = 200, description = "What it holds", body = ContentBody),
        (status = 400, description = "No path, or not one of a file", body = ErrorBody),
        (status = 404, description = "There is no such session, or no such file", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn content_get(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    session: Result<Session, SessionsError>,
    query: Result<QueryParams<PathQuery>, Rejection>,
) -> Result<Json<ContentBody>, SessionsError> {
    let QueryParams(query) = read(query)?;
    let path = required(query.path.as_deref(), PATH_REQUIRED)?;
    let session = session?;
    let _in_use = session.awake(&engine).await?;
    let bytes_max = settings.body_bytes_max;
    let content =
        engine.workspace_read(&session.caller, session.id(), workspace()?, path.as_bytes(), bytes_max);
    Ok(Json(convert::content_body(content.await?)))
}

/// Writes a file: whole, or not at all.
#[utoipa::path(
    post,
    path = "/api/files/{session_id}/content",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    request_body = ContentRequest,
    responses(
        (status = 200, description = "Written", body = SuccessBody),
        (status = 400, description = "No path or content, or not a path of a file", body = ErrorBody),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn content_put(
    State(engine): State<Engine>,
    session: Result<Session, SessionsError>,
    body: Result<JsonBody<ContentRequest>, Rejection>,
) -> Result<Json<SuccessBody>, SessionsError> {
    let (path, content) = convert::content_wanted(read(or_default(body))?)?;
    let session = session?;
    let _in_use = session.awake(&engine).await?;
    let root = workspace()?;
    engine.workspace_write(&session.caller, session.id(), root, path.as_bytes(), &content).await?;
    Ok(Json(SUCCESS))
}

/// Deletes a file, or a folder with all that is in it.
#[utoipa::path(
    delete,
    path = "/api/files/{session_id}/content",
    tag = "sessions",
    params(
        ("session_id" = String, Path, description = "The session"),
        ("path" = String, Query, description = "The file or folder, from the workspace on"),
    ),
    responses(
        (status = 200, description = "Deleted", body = SuccessBody),
        (status = 400, description = "No path, or none below the workspace", body = ErrorBody),
        (status = 404, description = "There is no such session, or no such file", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn content_delete(
    State(engine): State<Engine>,
    session: Result<Session, SessionsError>,
    query: Result<QueryParams<PathQuery>, Rejection>,
) -> Result<Json<SuccessBody>, SessionsError> {
    let QueryParams(query) = read(query)?;
    let path = required(query.path.as_deref(), PATH_REQUIRED)?;
    let session = session?;
    let _in_use = session.awake(&engine).await?;
    engine.workspace_remove(&session.caller, session.id(), workspace()?, path.as_bytes()).await?;
    Ok(Json(SUCCESS))
}
