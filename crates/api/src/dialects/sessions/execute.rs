//! Commands of a session, and its processes.

use std::sync::Arc;

use axum::{Json, extract::State};
use engine::{Engine, ExecRunSpec, FileProblem};

use super::{
    convert,
    error::SessionsError,
    session::{Session, read, required, wrong},
    types::{ExecuteRequest, OutcomeBody, ProcessBody},
};
use crate::{
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
    settings::ApiSettings,
};

/// Runs a command to its end, without a shell, with the session's environment.
#[utoipa::path(
    post,
    path = "/api/execute/{session_id}",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    request_body = ExecuteRequest,
    responses(
        (status = 200, description = "What it gave, however it ended", body = OutcomeBody),
        (status = 400, description = "No command, or there is no such program", body = ErrorBody),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn command_execute(
    State(engine): State<Engine>,
    State(settings): State<Arc<ApiSettings>>,
    session: Result<Session, SessionsError>,
    body: Result<JsonBody<ExecuteRequest>, Rejection>,
) -> Result<Json<OutcomeBody>, SessionsError> {
    let ExecuteRequest { command, args } = read(or_default(body))?;
    let command = required(command.as_deref(), "Command is required")?.to_owned();
    if args.iter().chain([&command]).any(|text| text.contains('\0')) {
        return Err(wrong("command: must not have a NUL byte"));
    }
    let session = session?;
    let _in_use = session.awake(&engine).await?;
    let spec = ExecRunSpec {
        argv: [command.clone()].into_iter().chain(args).collect(),
        env: Vec::new(),
        cwd: None,
        user: None,
        timeout: settings.sessions.command_timeout.min(engine.settings().timeout_max),
        output_bytes_max: engine.settings().output_bytes_max,
        stdin: None,
    };
    let ran = engine.exec_run(&session.caller, session.id(), spec).await;
    let result = ran.map_err(|error| match error.file_problem() {
        Some(FileProblem::NotFound) => wrong(format!("Program not found: {command}")),
        Some(_) => wrong(format!("{command}: {}", error.public())),
        None => error.into(),
    })?;
    Ok(Json(convert::execute_body(result)))
}

/// Lists the session's processes.
#[utoipa::path(
    get,
    path = "/api/processes/{session_id}",
    tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    responses(
        (status = 200, description = "All of them", body = Vec<ProcessBody>),
        (status = 404, description = "There is no such session", body = ErrorBody),
        (status = 409, description = "It has ended", body = ErrorBody),
        (status = 429, description = "Too many requests", body = ErrorBody),
    )
)]
pub(super) async fn process_list(
    State(engine): State<Engine>,
    session: Session,
) -> Result<Json<Vec<ProcessBody>>, SessionsError> {
    let _in_use = session.awake(&engine).await?;
    let processes = engine.process_list(&session.caller, session.id()).await?;
    let bodies = processes.into_iter().map(|process| convert::process_body(process, session.name()));
    Ok(Json(bodies.collect()))
}
