//! The sessions API, which browser IDEs speak: a session is a sandbox with a workspace, used by REST below `/api` and by
//! terminals over a WebSocket at `/ws`.
//!
//! It must not know other dialects. What its words mean in the engine's is said in `convert`, and only there.

mod convert;
mod cors;
mod door;
mod env;
mod error;
mod execute;
mod files;
mod id;
mod lifecycle;
mod rates;
mod session;
mod socket;
mod system;
mod types;
mod upload;

pub(crate) use cors::{front, preflight};
pub(crate) use door::door;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Identity, Policy, Refusal, guarded},
    state::ApiState,
};

/// Its name in records.
const DIALECT: &str = "sessions";

/// Everything below this is REST of this dialect.
const BELOW: &str = "/api";

/// Where the WebSocket is.
const SOCKET: &str = "/ws";

/// A key, or an open server: the document asks for none, and there the session's id is the secret.
const KEY: Policy = Policy { admits: Identity::key_or_open, refuse: Refusal::respond };

/// The routes. Method and path stand at each handler; the comments repeat the paths for the reader.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let router = OpenApiRouter::default()
        // /api/sessions
        .routes(routes!(lifecycle::session_create))
        // /api/sessions/{session_id}
        .routes(routes!(lifecycle::session_get))
        // /api/files/{session_id}/tree
        .routes(routes!(files::tree_get))
        // /api/files/{session_id}/content
        .routes(routes!(files::content_get, files::content_put, files::content_delete))
        // /api/files/{session_id}/upload
        .routes(routes!(upload::file_upload))
        // /api/execute/{session_id}
        .routes(routes!(execute::command_execute))
        // /api/processes/{session_id}
        .routes(routes!(execute::process_list))
        // /api/env/{session_id}
        .routes(routes!(env::variable_list, env::variable_put))
        // /api/system/stats
        .routes(routes!(system::stats_get))
        // /ws
        .routes(routes!(socket::socket_open));
    guarded(router, &KEY)
}

/// Whether a path is this dialect's.
fn is_ours(path: &str) -> bool {
    path == SOCKET || path.strip_prefix(BELOW).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
