//! The environment of a session: what commands and terminals that are begun later have.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert,
    error::SessionsError,
    session::{Session, read, required, wrong},
    types::{VariableBody, VariableRequest},
};
use crate::{
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
};

const REQUIRED: &str = "Key and value are required";

/// Lists the variables that were set.
#[utoipa::path(
    get,
    path = "/api/env/{session_id}",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    responses(
        (status = 200, description = "In the order of their numbers", body = Vec<VariableBody>),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn variable_list(
    State(engine): State<Engine>,
    session: Session,
) -> Result<Json<Vec<VariableBody>>, SessionsError> {
    let session = engine.sandbox_touch(&session.caller, session.id()).await?;
    Ok(Json(convert::variable_bodies(&session)))
}

/// Sets a variable, in the place of one of the same name.
#[utoipa::path(
    post,
    path = "/api/env/{session_id}",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    request_body = VariableRequest,
    responses(
        (status = 200, description = "Set", body = VariableBody),
        (status = 400, description = "No key or value, or no name of a variable", body = ErrorBody),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn variable_put(
    State(engine): State<Engine>,
    session: Result<Session, SessionsError>,
    body: Result<JsonBody<VariableRequest>, Rejection>,
) -> Result<Json<VariableBody>, SessionsError> {
    let VariableRequest { key, value } = read(or_default(body))?;
    let key = required(key.as_deref(), REQUIRED)?.to_owned();
    let value = value.ok_or_else(|| wrong(REQUIRED))?;
    if !convert::is_variable_name(&key) {
        return Err(wrong(format!("Invalid key {key:?}: letters, digits and _, no digit first")));
    }
    let session = session?;
    engine.sandbox_touch(&session.caller, session.id()).await?;
    let set = engine.variable_set(&session.caller, session.id(), key, value.clone()).await?;
    Ok(Json(convert::variable_body(set, value, session.name())))
}
