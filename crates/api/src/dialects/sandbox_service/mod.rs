//! The sandbox-service dialect: a sandbox is made for a program, which is run in it, once or as often as
//! wanted.
//!
//! It must not know other dialects. What its words mean in the engine's is said in `convert`, and only
//! there.

mod convert;
mod env_value;
mod error;
mod execute;
mod files;
mod logs;
mod sandboxes;
mod types;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Identity, Policy, Refusal, guarded},
    state::ApiState,
};

/// Its name in records.
const DIALECT: &str = "sandbox-service";

/// The document asks for no key; a server that has some does.
const KEY: Policy = Policy { admits: Identity::key_or_open, refuse: Refusal::respond };

/// The routes. Method and path stand at each handler; the comments repeat the paths for the reader.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let router = OpenApiRouter::default()
        // /sandbox
        .routes(routes!(sandboxes::sandbox_create, sandboxes::sandbox_list_short))
        // /sandboxes
        .routes(routes!(sandboxes::sandbox_list))
        // /sandbox/{id}
        .routes(routes!(sandboxes::sandbox_get, sandboxes::sandbox_delete))
        // /sandbox/{id}/execute
        .routes(routes!(execute::program_run))
        // /sandbox/{id}/files
        .routes(routes!(files::files_write))
        // /execute
        .routes(routes!(execute::program_run_once))
        // /admin/api/sandboxes/{id}/logs
        .routes(routes!(logs::log_tail));
    guarded(router, &KEY)
}
