//! The session that a path names, as an extractor: no handler looks for one, and none forgets whose it is.

use axum::{extract::FromRequestParts, http::request::Parts};
use std::sync::Arc;

use engine::{Caller, EndReason, Engine, InUse, Sandbox, SandboxState};
use protocol::{GuestPath, SandboxId};

use super::{DIALECT, door::Found, error::SessionsError, rates::Rates};
use crate::{auth::Identity, reject::Rejection};

/// The session, and who asks for it.
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) sandbox: Sandbox,
    pub(super) rates: Arc<Rates>,
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionsError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionsError> {
        // The guard has let it in; where there was none, nobody is somebody.
        let caller = Identity::of(&parts.extensions).caller_or_nobody();
        let Found { session, rates } = parts.extensions.get().cloned().ok_or(SessionsError::Unknown)?;
        Ok(Self { caller, sandbox: session, rates })
    }
}

impl Session {
    pub(super) fn id(&self) -> SandboxId {
        self.sandbox.id
    }

    /// What the client calls it.
    pub(super) fn name(&self) -> &str {
        self.sandbox.name.as_deref().unwrap_or_default()
    }

    /// Has it up and uses it until the answer is dropped.
    pub(super) async fn awake(&self, engine: &Engine) -> Result<InUse, SessionsError> {
        awake(engine, &self.caller, &self.sandbox).await
    }
}

/// Has a session up and uses it until the answer is dropped. One that did not end by anybody's will, such as by a
/// restart of the host, is launched again, with its files.
pub(super) async fn awake(
    engine: &Engine,
    caller: &Caller,
    session: &Sandbox,
) -> Result<InUse, SessionsError> {
    match (session.state, &session.end) {
        (SandboxState::Terminated, Some(EndReason::LeaseEnded | EndReason::Killed { .. }))
        | (SandboxState::Stopping, _) => return Err(SessionsError::Ended),
        (SandboxState::Terminated | SandboxState::Failed, _) => {
            engine.sandbox_start(caller, session.id).await?;
        }
        _ => {}
    }
    Ok(engine.sandbox_use(caller, session.id).await?)
}

/// The session of this id.
pub(super) async fn session_find(
    engine: &Engine,
    caller: &Caller,
    id: &str,
) -> Result<Sandbox, SessionsError> {
    engine.sandbox_by_name(caller, DIALECT, id).await.map_err(|_| SessionsError::Unknown)
}

/// The folder that a session's files are below.
pub(super) fn workspace() -> Result<GuestPath, SessionsError> {
    let path = GuestPath::absolute(engine::program::WORK_FOLDER);
    path.map_err(|error| SessionsError::Engine(engine::Error::internal(error)))
}

/// A text of a request that must be there and not be empty.
pub(super) fn required<'a>(text: Option<&'a str>, told: &'static str) -> Result<&'a str, SessionsError> {
    text.filter(|text| !text.is_empty()).ok_or_else(|| wrong(told))
}

/// A request that is wrong, in these words.
pub(super) fn wrong(text: impl Into<String>) -> SessionsError {
    SessionsError::Wrong(text.into())
}

/// A body or query as it was read, or why it could not be.
pub(super) fn read<T>(part: Result<T, Rejection>) -> Result<T, SessionsError> {
    Ok(part?)
}
