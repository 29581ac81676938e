//! All HTTP of Atoll: the dialects and what they share, as one axum router over the engine.
//!
//! This crate must not know SQL, system calls, the file system or the launcher: it turns requests into calls
//! of [`engine::Engine`] and results into responses. One dialect never names another.

mod access_log;
mod auth;
mod body_reader;
mod budget;
mod caller;
mod dialects;
mod error;
mod extract;
mod health;
mod inside;
mod json_object;
mod limits;
mod openapi;
mod origin;
mod patience;
mod peer;
mod reject;
mod request_id;
mod server;
mod settings;
mod state;
mod timestamps;
mod words;

use std::sync::Arc;

use axum::{Router, middleware};
use engine::Engine;
use utoipa_axum::router::OpenApiRouter;

use crate::{auth::Gate, budget::Budget, openapi::ServedDocument, state::ApiState};
pub use crate::{
    origin::is_host_name,
    server::{ServeError, serve},
    settings::{ApiSettings, SessionsSettings, VmsSettings},
};

/// The whole API over `engine`: every dialect, `/health`, `/openapi.json`, and around them the request id,
/// the access log, the check against foreign web pages, the question who asks, and the bound on memory.
pub fn router(engine: Engine, settings: ApiSettings) -> Router {
    let settings = Arc::new(settings);
    let (router, document) = routes().split_for_parts();
    let document = ServedDocument::new(&document);
    let gate = Arc::new(Gate::new(engine.clone(), settings.insecure_no_auth));
    let router =
        router.with_state(ApiState { engine: engine.clone(), settings: Arc::clone(&settings), document });
    let router = dialects::vms::door(dialects::sessions::door(unknown_answer(router), engine));
    edge(router.layer(middleware::from_fn_with_state(gate, auth::identify)), settings)
}

/// Every route and its description. A route gets in here through `routes!` only: what is served is
/// documented.
fn routes() -> OpenApiRouter<ApiState> {
    let mut routes = openapi::empty()
        .merge(health::routes())
        .merge(openapi::routes())
        .merge(dialects::sandbox_service::routes())
        .merge(dialects::vms::routes())
        .merge(dialects::sessions::routes())
        .merge(dialects::opensandbox::routes())
        .merge(dialects::executor::routes());
    openapi::operations_name(routes.get_openapi_mut());
    routes
}

/// Answers what no route of `router` takes.
fn unknown_answer(router: Router) -> Router {
    router.fallback(reject::route_unknown).method_not_allowed_fallback(reject::method_not_allowed)
}

/// Puts around `router` what every request passes, outermost last.
fn edge(router: Router, settings: Arc<ApiSettings>) -> Router {
    let budget = Arc::new(Budget::new(settings.body_memory_bytes));
    let router = router
        .layer(middleware::from_fn_with_state(budget, budget::memory_bound))
        .layer(middleware::from_fn(dialects::sessions::preflight))
        .layer(middleware::from_fn_with_state(Arc::clone(&settings), origin::origin_check));
    dialects::sessions::front(dialects::opensandbox::door(router), settings)
        .layer(middleware::from_fn(access_log::request_log))
        .layer(middleware::from_fn(request_id::request_id_assign))
}

#[cfg(test)]
mod tests;
