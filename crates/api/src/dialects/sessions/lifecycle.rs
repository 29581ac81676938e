//! Sessions themselves: make one, look at one.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::Engine;
use jiff::Timestamp;

use super::{
    convert,
    error::SessionsError,
    id::session_id,
    session::{Session, read},
    types::{SessionBody, SessionRequest},
};
use crate::{
    caller::Asker,
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
    settings::ApiSettings,
};

/// Makes a session. It is up when this answers. Idle for long it is paused, and after another while ended.
#[utoipa::path(
    post,
    path = "/api/sessions",
    tag = "sessions",
    request_body = Option<SessionRequest>,
    responses(
        (status = 200, description = "Made", body = SessionBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (
            status = 429,
            description = "Too many sandboxes",
            body = ErrorBody,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        (status = 500, description = "The text has the request's id", body = ErrorBody),
        (status = 503, description = "The storage is full", body = ErrorBody),
    )
)]
pub(super) async fn session_create(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    Asker(caller): Asker,
    body: Result<JsonBody<SessionRequest>, Rejection>,
) -> Result<Json<SessionBody>, SessionsError> {
    let id = session_id(Timestamp::now()).map_err(engine::Error::internal)?;
    let spec = convert::session_spec(read(or_default(body))?, id, &settings.sessions, engine.settings())?;
    let session = engine.sandbox_create(&caller, spec).await?;
    Ok(Json(convert::session_body(&session)))
}

/// Looks at a session. That counts as activity, and leaves one that is paused as it is.
#[utoipa::path(
    get,
    path = "/api/sessions/{session_id}",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    responses(
        (status = 200, description = "The session", body = SessionBody),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn session_get(
    State(engine): State<Engine>,
    session: Session,
) -> Result<Json<SessionBody>, SessionsError> {
    let touched = engine.sandbox_touch(&session.caller, session.id()).await?;
    Ok(Json(convert::session_body(&touched)))
}
