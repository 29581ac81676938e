//! The sandbox that a path names, and who asks, as an extractor.

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use engine::{Caller, Engine, Sandbox};
use protocol::SandboxId;

use super::error::LifecycleError;
use crate::caller::Asker;

/// The sandbox, and who asks for it.
pub(super) struct Named {
    pub(super) caller: Caller,
    pub(super) sandbox: Sandbox,
}

impl Named {
    pub(super) fn id(&self) -> SandboxId {
        self.sandbox.id
    }
}

impl<S> FromRequestParts<S> for Named
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Asker(caller) = Asker::from_request_parts(parts, state).await?;
        let text = path_part(parts, state, "sandbox_id").await;
        let id = text.parse().map_err(|_| not_found(&text))?;
        let found = Engine::from_ref(state).sandbox_get(&caller, id).await;
        let sandbox = found.map_err(|error| LifecycleError::from(error).into_response())?;
        Ok(Self { caller, sandbox })
    }
}

/// A text that is no id is an id that nothing has.
pub(super) fn not_found(id: &str) -> Response {
    LifecycleError::from(engine::Error::sandbox_not_found(id)).into_response()
}

/// A part of the path by its name in the route; empty if there is none.
pub(super) async fn path_part<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> String {
    let Ok(params) = RawPathParams::from_request_parts(parts, state).await else { return String::new() };
    params.iter().find(|(given, _)| *given == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}
