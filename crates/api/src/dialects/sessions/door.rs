//! Before any handler: finds the session that a path names, and counts the request against its rate.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use engine::{Engine, Sandbox};

use super::{BELOW, DIALECT, error::SessionsError, rates::Rates};
use crate::auth::Identity;

struct Door {
    engine: Engine,
    rates: Arc<Rates>,
}

/// What was found of the session that a path names: an extension of the request.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) session: Sandbox,
    pub(super) rates: Arc<Rates>,
}

/// Stands around all of `router`, inside of what finds out who asks.
pub(crate) fn door(router: Router, engine: Engine) -> Router {
    let door = Arc::new(Door { engine, rates: Arc::default() });
    router.layer(middleware::from_fn_with_state(door, pass))
}

async fn pass(State(door): State<Arc<Door>>, mut request: Request, next: Next) -> Response {
    let Some(id) = session_named(request.uri().path()) else { return next.run(request).await };
    let Ok(caller) = Identity::of(request.extensions()).caller() else { return next.run(request).await };
    let Ok(session) = door.engine.sandbox_by_name(&caller, DIALECT, id).await else {
        return next.run(request).await;
    };
    let standing = door.rates.request(session.id);
    let mut response = if standing.allowed {
        request.extensions_mut().insert(Found { session, rates: Arc::clone(&door.rates) });
        next.run(request).await
    } else {
        let text = "Too many requests: a session may have 1000 a minute";
        SessionsError::TooMany { text, retry_after_s: standing.reset_s }.into_response()
    };
    standing.headers_add(response.headers_mut());
    response
}

/// The id in `/api/<noun>/<id>…`.
fn session_named(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix(BELOW)?.strip_prefix('/')?.split('/');
    let noun = parts.next()?;
    parts.next().filter(|_| matches!(noun, "sessions" | "files" | "execute" | "processes" | "env"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_named_in_the_second_place() {
        assert_eq!(session_named("/api/sessions/a"), Some("a"));
        assert_eq!(session_named("/api/files/a/content"), Some("a"));
        for none in ["/api/sessions", "/api/system/stats", "/api", "/apis/files/a", "/vms/a"] {
            assert_eq!(session_named(none), None, "{none}");
        }
    }
}
