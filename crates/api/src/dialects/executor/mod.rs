//! The way to a sandbox's executor, which its agent serves, and to the one port that it shows: below a path of the
//! sandbox, and at the edge where published clients look for it, which name the sandbox in a header.
//!
//! It must not know other dialects, nor what the executor's requests mean.

mod entrant;
mod error;

use axum::{
    extract::{Request, State},
    http::{Method, header},
    response::{IntoResponse, Response},
};
use engine::Target;
use protocol::agent::HttpDialect;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    entrant::{Entrant, Unnamed},
    error::ExecutorError,
};
use crate::{
    auth::token_note,
    inside::{Door, forward},
    state::ApiState,
};

/// The name of the executor inside, as its clients know it.
const EXECUTOR_HOST: &str = "localhost:3030";
/// The name of what is bound: the agent alone knows its port.
const BOUND_HOST: &str = "localhost";
/// What the executor's path says when it is well.
const HEALTHY: &str = r#"{"status":"ok"}"#;

/// Declares a route that leads into a sandbox. They differ in their paths, and in where they lead.
macro_rules! route_inside {
    ($(#[$doc:meta])* $name:ident, $path:literal, [$($param:tt)*], $target:expr, $host:expr, $parts:literal) => {
        $(#[$doc])*
        #[utoipa::path(
            method(get, post, put, patch, delete, head, options),
            path = $path,
            tag = "executor",
            params($($param)*),
            responses(
                (status = 200, description = "What is answered inside, whatever its status"),
                (status = 404, description = "There is no such sandbox"),
                (status = 409, description = "It is paused, or has ended"),
                (status = 502, description = "Nothing answers inside, or no port is bound"),
                (status = 504, description = "The sandbox does not answer"),
            )
        )]
        async fn $name(
            State(state): State<ApiState>,
            entrant: Entrant,
            request: Request,
        ) -> Result<Response, ExecutorError> {
            pass(&state, &entrant, $target, &Door { host: $host.to_owned(), prefix_parts: $parts }, request).await
        }
    };
}

route_inside! {
    /// Passes a request on to the executor of a sandbox.
    executor_path, "/v1/sandboxes/{sandbox_id}/executor/{*path}",
    [("sandbox_id" = String, Path, description = "The sandbox"), ("path" = String, Path, description = "The path there")],
    Target::Agent(HttpDialect::Executor), EXECUTOR_HOST, 5
}
route_inside! {
    /// Passes a request on to `/` of the port that a sandbox's executor shows.
    bound_root, "/r/{sandbox_id}",
    [("sandbox_id" = String, Path, description = "The sandbox")],
    Target::BoundPort, BOUND_HOST, 3
}
route_inside! {
    /// Passes a request on to `/` of the port that a sandbox's executor shows.
    bound_root_slash, "/r/{sandbox_id}/",
    [("sandbox_id" = String, Path, description = "The sandbox")],
    Target::BoundPort, BOUND_HOST, 3
}
route_inside! {
    /// Passes a request on to a path of the port that a sandbox's executor shows. WebSockets pass as well.
    bound_path, "/r/{sandbox_id}/{*path}",
    [("sandbox_id" = String, Path, description = "The sandbox"), ("path" = String, Path, description = "The path there")],
    Target::BoundPort, BOUND_HOST, 3
}

/// Passes a request on to the executor of the sandbox that the header `X-Routing-Key` names. `GET /health` is answered to
/// everybody, of every sandbox alike; who may enter is told by the sandbox itself.
#[utoipa::path(
    method(get, post, put, patch, delete, head, options),
    path = "/koyeb-sandbox/{*path}",
    tag = "executor",
    params(
        ("path" = String, Path, description = "The path there"),
        ("X-Routing-Key" = String, Header, description = "The sandbox"),
    ),
    responses(
        (status = 200, description = "What is answered inside, whatever its status"),
        (status = 404, description = "There is no such sandbox"),
        (status = 409, description = "It is paused, or has ended"),
        (status = 502, description = "Nothing answers inside"),
        (status = 504, description = "The sandbox does not answer"),
    )
)]
async fn edge_path(
    State(state): State<ApiState>,
    entrant: Result<Entrant, Unnamed>,
    request: Request,
) -> Result<Response, ExecutorError> {
    match entrant {
        Ok(entrant) => {
            let door = Door { host: EXECUTOR_HOST.to_owned(), prefix_parts: 2 };
            pass(&state, &entrant, Target::Agent(HttpDialect::Executor), &door, request).await
        }
        Err(Unnamed(_))
            if *request.method() == Method::GET && request.uri().path() == "/koyeb-sandbox/health" =>
        {
            Ok(([(header::CONTENT_TYPE, "application/json")], HEALTHY).into_response())
        }
        Err(Unnamed(error)) => Err(error),
    }
}

/// The routes. Method and path stand at each handler; the comments repeat the paths for the reader.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let with_token = OpenApiRouter::default()
        // /v1/sandboxes/{sandbox_id}/executor/{*path}
        .routes(routes!(executor_path))
        // /koyeb-sandbox/{*path}
        .routes(routes!(edge_path))
        // /r/{sandbox_id}, /r/{sandbox_id}/, /r/{sandbox_id}/{*path}
        .routes(routes!(bound_root))
        .routes(routes!(bound_root_slash))
        .routes(routes!(bound_path));
    token_note(with_token)
}

async fn pass(
    state: &ApiState,
    entrant: &Entrant,
    target: Target,
    door: &Door,
    request: Request,
) -> Result<Response, ExecutorError> {
    let stream = state.engine.sandbox_dial(&entrant.caller, entrant.id, target).await?;
    Ok(forward(stream, door, request).await?)
}
