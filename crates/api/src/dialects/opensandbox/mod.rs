//! The lifecycle API of OpenSandbox, below `/v1`: sandboxes, their states, snapshots, and the way into them. What is
//! served inside a sandbox (execd) is the agent's; `proxy` leads there.
//!
//! It must not know other dialects. What its words mean in the engine's is said in `convert`, and only there.

mod convert;
mod diagnostics;
mod egress;
mod endpoints;
mod error;
mod network_policy;
mod proxy;
mod sandbox;
mod sandboxes;
mod server;
mod snapshots;
mod states;
mod types;
mod unsupported;
mod volumes;

use axum::{Router, middleware};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Identity, Policy, guarded, token_note},
    state::ApiState,
};

/// Its name in records.
const DIALECT: &str = "opensandbox";

/// Everything below this has this API's form of errors.
const BELOW: &str = "/v1";

/// The specification asks for a key on every server.
const KEY: Policy = Policy { admits: Identity::key_always, refuse: error::refusal_response };

/// The routes. Method and path stand at each handler; the comments repeat the paths for the reader.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    let with_key = OpenApiRouter::default()
        // /v1/sandboxes
        .routes(routes!(sandboxes::sandbox_list, sandboxes::sandbox_create))
        // /v1/sandboxes/{sandbox_id}
        .routes(routes!(sandboxes::sandbox_get, sandboxes::sandbox_delete))
        // /v1/sandboxes/{sandbox_id}/metadata
        .routes(routes!(sandboxes::metadata_patch))
        // /v1/sandboxes/{sandbox_id}/pause
        .routes(routes!(states::sandbox_pause))
        // /v1/sandboxes/{sandbox_id}/resume
        .routes(routes!(states::sandbox_resume))
        // /v1/sandboxes/{sandbox_id}/renew-expiration
        .routes(routes!(states::lease_renew))
        // /v1/sandboxes/{sandbox_id}/networkpolicy
        .routes(routes!(
            network_policy::policy_get,
            network_policy::policy_replace,
            network_policy::policy_patch,
            network_policy::policy_rules_delete
        ))
        // /v1/sandboxes/{sandbox_id}/endpoints/{port}
        .routes(routes!(endpoints::endpoint_get))
        // /v1/sandboxes/{sandbox_id}/snapshots
        .routes(routes!(snapshots::snapshot_create))
        // /v1/snapshots
        .routes(routes!(snapshots::snapshot_list))
        // /v1/snapshots/{snapshot_id}
        .routes(routes!(snapshots::snapshot_get, snapshots::snapshot_delete))
        // /v1/volumes, /v1/volumes/{volume}
        .routes(routes!(volumes::volume_list))
        .routes(routes!(volumes::volume_delete))
        // /v1/sandboxes/{sandbox_id}/diagnostics/…
        .routes(routes!(diagnostics::logs_get))
        .routes(routes!(diagnostics::events_get))
        .routes(routes!(diagnostics::inspect_get))
        .routes(routes!(diagnostics::summary_get))
        // /v1/metrics/events
        .routes(routes!(server::metrics_event))
        // /v1/pools…, /v1/templates…
        .routes(routes!(unsupported::pools))
        .routes(routes!(unsupported::pool))
        .routes(routes!(unsupported::templates))
        .routes(routes!(unsupported::template));
    let with_token = OpenApiRouter::default()
        // /v1/sandboxes/{sandbox_id}/proxy/{port}…
        .routes(routes!(proxy::proxy_root))
        .routes(routes!(proxy::proxy_root_slash))
        .routes(routes!(proxy::proxy_path));
    let open = OpenApiRouter::default()
        // /v1/health
        .routes(routes!(server::health_get))
        // /version, /v1/version
        .routes(routes!(server::version_get))
        .routes(routes!(server::version_get_below));
    guarded(with_key, &KEY).merge(token_note(with_token)).merge(open)
}

/// Gives all errors below `/v1` this API's form, those of paths that are not there too.
pub(crate) fn door(router: Router) -> Router {
    router.layer(middleware::from_fn(|request: axum::extract::Request, next: middleware::Next| async move {
        let rest = request.uri().path().strip_prefix(BELOW);
        match rest {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                error::errors_shape(request, next).await
            }
            _ => next.run(request).await,
        }
    }))
}
