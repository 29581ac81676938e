//! The vms dialect: named machines that belong to the key that made them.
//!
//! It must not know other dialects. What its words mean in the engine's is said in `convert`, and only
//! there.

mod convert;
mod error;
mod keys;
mod types;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Identity, Policy, guarded},
    state::ApiState,
};

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
        .routes(routes!(keys::key_get));
    guarded(about_keys, &ADMIN).merge(guarded(with_key, &KEY))
}
