//! Text for people about what a sandbox did.

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use engine::{Engine, EventQuery};

use super::{
    convert,
    error::LifecycleError,
    sandbox::Named,
    types::{DiagnosticBody, ErrorResponse},
};
use crate::{extract::QueryParams, reject::Rejection};

/// Lines of a log that are shown at most.
const LINES_MAX: usize = 10_000;
/// Lines that are shown where nothing says how many.
const LINES_DEFAULT: usize = 100;
/// Events that are shown.
const EVENTS_MAX: u32 = 500;

/// What the entrypoint wrote.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/diagnostics/logs",
    tag = "opensandbox",
    params(
        ("sandbox_id" = String, Path, description = "The sandbox"),
        ("scope" = Option<String>, Query, description = "`container`, `process` or `all`; without it the answer is text"),
        ("tail" = Option<u32>, Query, description = "Without a scope: how many lines", minimum = 1, maximum = 10000),
    ),
    responses(
        (status = 200, description = "The lines", content(
            (DiagnosticBody = "application/json"),
            (String = "text/plain"),
        )),
        (status = 400, description = "There is no such scope", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn logs_get(
    State(engine): State<Engine>,
    named: Named,
    query: Result<QueryParams<Vec<(String, String)>>, Rejection>,
) -> Result<Response, LifecycleError> {
    let QueryParams(query) = query?;
    let scope = scope_of(&query, &["container", "process", "all"])?;
    let lines = if scope.is_some() { LINES_MAX } else { tail_of(&query)? };
    let lines = engine.log_tail(&named.caller, named.id(), lines).await?;
    let content = convert::log_lines(&lines);
    Ok(match scope {
        None => text(content),
        Some(scope) => {
            let truncated = lines.len() == LINES_MAX;
            Json(convert::diagnostic_body(&named.sandbox, "logs", scope, content, truncated)).into_response()
        }
    })
}

/// What happened to it.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/diagnostics/events",
    tag = "opensandbox",
    params(
        ("sandbox_id" = String, Path, description = "The sandbox"),
        ("scope" = Option<String>, Query, description = "`lifecycle`, `runtime` or `all`; without it the answer is text"),
    ),
    responses(
        (status = 200, description = "The events", content(
            (DiagnosticBody = "application/json"),
            (String = "text/plain"),
        )),
        (status = 400, description = "There is no such scope", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn events_get(
    State(engine): State<Engine>,
    named: Named,
    query: Result<QueryParams<Vec<(String, String)>>, Rejection>,
) -> Result<Response, LifecycleError> {
    let QueryParams(query) = query?;
    let scope = scope_of(&query, &["lifecycle", "runtime", "all"])?;
    let (content, truncated) = events(&engine, &named).await?;
    Ok(match scope {
        None => text(content),
        Some(scope) => Json(convert::diagnostic_body(&named.sandbox, "events", scope, content, truncated))
            .into_response(),
    })
}

/// What it is.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/diagnostics/inspect",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "Text", body = String),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn inspect_get(named: Named) -> Response {
    text(inspect(&named))
}

/// What it is, what happened to it, and what its entrypoint wrote last.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/diagnostics/summary",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "Text", body = String),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn summary_get(
    State(engine): State<Engine>,
    named: Named,
) -> Result<Response, LifecycleError> {
    let (events, _) = events(&engine, &named).await?;
    let lines = engine.log_tail(&named.caller, named.id(), LINES_DEFAULT).await?;
    let (about, lines) = (inspect(&named), convert::log_lines(&lines));
    Ok(text(format!("{about}\nEvents\n{events}\nLog\n{lines}")))
}

async fn events(engine: &Engine, named: &Named) -> Result<(String, bool), LifecycleError> {
    let query = EventQuery { limit: EVENTS_MAX, before: None, sandbox: Some(named.id()) };
    let events = engine.event_list(&named.caller, query).await?;
    Ok((convert::event_lines(&events), events.len() == EVENTS_MAX as usize))
}

fn inspect(named: &Named) -> String {
    let body = convert::sandbox_body(&named.sandbox, true);
    let limits = &named.sandbox.limits;
    let rest = format!(
        "\ncpu {} millicores, memory {} MiB, processes {}, disk {} MiB\n",
        limits.cpu_millis,
        limits.memory_bytes >> 20,
        limits.pids,
        limits.disk_bytes >> 20
    );
    serde_json::to_string_pretty(&body).unwrap_or_default() + &rest
}

fn scope_of(query: &[(String, String)], known: &[&str]) -> Result<Option<String>, LifecycleError> {
    match query.iter().rev().find(|(name, _)| name == "scope") {
        None => Ok(None),
        Some((_, scope)) if known.contains(&scope.as_str()) => Ok(Some(scope.clone())),
        Some(_) => Err(LifecycleError::invalid("scope", format!("must be one of {}", known.join(", ")))),
    }
}

fn tail_of(query: &[(String, String)]) -> Result<usize, LifecycleError> {
    let Some((_, text)) = query.iter().rev().find(|(name, _)| name == "tail") else {
        return Ok(LINES_DEFAULT);
    };
    let given = text.parse::<usize>().ok().filter(|lines| (1..=LINES_MAX).contains(lines));
    given.ok_or_else(|| LifecycleError::invalid("tail", format!("must be a number from 1 to {LINES_MAX}")))
}

fn text(content: String) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], content).into_response()
}
