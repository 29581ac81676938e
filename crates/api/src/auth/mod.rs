//! Who asks, and whether that is enough.
//!
//! `identify` finds out once for each request and decides nothing. `guarded` stands around the routes of a
//! dialect and refuses before any handler runs; what is enough, and how a refusal looks, is the dialect's
//! [`Policy`]. Handlers take an [`crate::caller::Asker`], which refuses once more by itself: a route without a
//! guard is closed, not open.

mod document;
mod failures;
mod identify;
mod identity;
mod presented;
mod refusal;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::{
    document::{schemes_add, token_note},
    identify::{Gate, identify},
    identity::Identity,
    refusal::Refusal,
};
use crate::state::ApiState;

/// What routes ask of who calls them.
pub(crate) struct Policy {
    /// Whether that is enough.
    pub(crate) admits: fn(&Identity) -> Result<(), Refusal>,
    /// The answer if it is not.
    pub(crate) refuse: fn(Refusal) -> Response,
}

/// Closes every route of `router` to those whom `policy` does not admit, and says so in its document.
pub(crate) fn guarded(
    mut router: OpenApiRouter<ApiState>,
    policy: &'static Policy,
) -> OpenApiRouter<ApiState> {
    document::guard_note(router.get_openapi_mut());
    router.route_layer(middleware::from_fn_with_state(policy, guard))
}

/// Closes all of `router` whose path is this one, or below it, to those whom `policy` does not admit, also where
/// there is no route.
pub(crate) fn guarded_below(router: Router, prefix: &'static str, policy: &'static Policy) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| async move {
        let rest = request.uri().path().strip_prefix(prefix);
        match rest {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                guard(State(policy), request, next).await
            }
            _ => next.run(request).await,
        }
    }))
}

async fn guard(State(policy): State<&'static Policy>, request: Request, next: Next) -> Response {
    match (policy.admits)(&Identity::of(request.extensions())) {
        Ok(()) => next.run(request).await,
        Err(refusal) => (policy.refuse)(refusal),
    }
}
