//! The way into a sandbox: every request below `/v1/sandboxes/{sandbox_id}/proxy/{port}` goes to what listens on that
//! port inside, as it comes; the port of execd is the agent itself.
//!
//! Whoever has the sandbox's token gets through, or a key that owns it.

mod entrant;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use engine::{ErrorKind, Target};
use protocol::agent::HttpDialect;

use self::entrant::Entrant;
use super::{
    egress,
    endpoints::{EGRESS_PORT, EXECD_PORT},
    error::LifecycleError,
    types::ErrorResponse,
};
use crate::{
    inside::{Broken, Door, forward},
    state::ApiState,
};

/// The code of errors about what is inside.
const CONNECTION_FAILED: &str = "BACKEND_CONNECTION_FAILED";
/// The parts of a path before what is passed on: nothing, `v1`, `sandboxes`, the sandbox, `proxy`, the port.
pub(super) const PREFIX_PARTS: usize = 6;

/// Declares a route that leads into a sandbox. They differ in their paths alone.
macro_rules! route_inside {
    ($(#[$doc:meta])* $name:ident, $path:literal $(, $rest:literal)?) => {
        $(#[$doc])*
        #[utoipa::path(
            method(get, post, put, patch, delete, head, options),
            path = $path,
            tag = "opensandbox",
            params(
                ("sandbox_id" = String, Path, description = "The sandbox"),
                ("port" = u16, Path, description = "The port inside", minimum = 1),
                $(($rest = String, Path, description = "The path there"),)?
            ),
            responses(
                (status = 200, description = "What is answered inside, whatever its status"),
                (status = 404, description = "There is no such sandbox", body = ErrorResponse),
                (status = 409, description = "It is paused, or has ended", body = ErrorResponse),
                (status = 502, description = "Nothing listens on the port", body = ErrorResponse),
                (status = 504, description = "The sandbox does not answer", body = ErrorResponse),
            )
        )]
        pub(super) async fn $name(
            State(state): State<ApiState>,
            entrant: Entrant,
            request: Request,
        ) -> Result<Response, LifecycleError> {
            pass(&state, entrant, request).await
        }
    };
}

route_inside! {
    /// Passes a request on to `/` of a port inside.
    proxy_root, "/v1/sandboxes/{sandbox_id}/proxy/{port}"
}
route_inside! {
    /// Passes a request on to `/` of a port inside.
    proxy_root_slash, "/v1/sandboxes/{sandbox_id}/proxy/{port}/"
}
route_inside! {
    /// Passes a request on to a path of a port inside. WebSockets pass as well.
    proxy_path, "/v1/sandboxes/{sandbox_id}/proxy/{port}/{*path}", "path"
}

async fn pass(state: &ApiState, entrant: Entrant, request: Request) -> Result<Response, LifecycleError> {
    let target = match entrant.port {
        EXECD_PORT => Target::Agent(HttpDialect::Execd),
        EGRESS_PORT => return egress::answer(state, &entrant.caller, entrant.id, request).await,
        port => Target::Port(port),
    };
    let stream = state.engine.sandbox_dial(&entrant.caller, entrant.id, target).await.map_err(not_reached)?;
    let door = Door { host: format!("localhost:{}", entrant.port), prefix_parts: PREFIX_PARTS };
    forward(stream, &door, request).await.map_err(|broken| match broken {
        Broken::Path => LifecycleError::invalid("path", "is no path"),
        Broken::NoAnswer | Broken::Protocol => {
            LifecycleError::new(StatusCode::BAD_GATEWAY, CONNECTION_FAILED, broken.to_string())
        }
    })
}

fn not_reached(error: engine::Error) -> LifecycleError {
    match error.kind() {
        ErrorKind::Refused | ErrorKind::Unavailable | ErrorKind::SandboxEnded => {
            LifecycleError::new(StatusCode::BAD_GATEWAY, CONNECTION_FAILED, error.public())
        }
        ErrorKind::TimedOut => {
            LifecycleError::new(StatusCode::GATEWAY_TIMEOUT, "BACKEND_TIMEOUT", error.public())
        }
        _ => error.into(),
    }
}
