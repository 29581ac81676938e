//! The vms dialect: named machines that belong to the key that made them.
//!
//! It must not know other dialects. What its words mean in the engine's is said in `convert`, and only
//! there.

mod convert;
mod error;
mod keys;
mod machine;
mod machines;
mod snapshots;
mod types;

mod workspace;

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Identity, Policy, guarded, guarded_below},
    state::ApiState,
};

/// Its name in records.
const DIALECT: &str = "vms";

/// Everything below this asks for a key, whether there is such a route or not.
const BELOW: &str = "/vms";

/// The document asks for a key on every server.
const KEY: Policy = Policy { admits: Identity::key_always, refuse: error::refusal_response };
/// Keys are for administrators, and for whoever makes the first ones.
const ADMIN: Policy = Policy { admits: Identity::admin_or_first_keys, refuse: error::refusal_response };

/// The routes. Method and path stand at each handler; the comments repeat the paths for the reader.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let about_keys = OpenApiRouter::default()
        // /api-keys
        .routes(routes!(keys::key_create, keys::key_list));
    let with_key = OpenApiRouter::default()
        // /me
        .routes(routes!(keys::key_get))
        // /vms
        .routes(routes!(machines::vm_list, machines::vm_create))
        // /vms/{name}
        .routes(routes!(machines::vm_get, machines::vm_delete))
        // /vms/{name}/run
        .routes(routes!(workspace::command_run))
        // /vms/{name}/wipe
        .routes(routes!(workspace::workspace_wipe))
        // /vms/{name}/import
        .routes(routes!(workspace::workspace_import))
        // /vms/{name}/snapshots
        .routes(routes!(snapshots::snapshot_list))
        // /vms/{name}/snapshots/{snapshot}/restore
        .routes(routes!(snapshots::snapshot_restore))
        // /vms/{name}/snapshots/{snapshot}/export
        .routes(routes!(snapshots::snapshot_export))
        // /snapshots
        .routes(routes!(snapshots::snapshot_list_all));
    guarded(about_keys, &ADMIN).merge(guarded(with_key, &KEY))
}

/// Closes what is below `/vms` before it is routed: who has no key does not learn which paths there are.
pub(crate) fn door(router: Router) -> Router {
    guarded_below(router, BELOW, &KEY)
}
