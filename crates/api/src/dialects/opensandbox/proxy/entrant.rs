//! Who may enter a sandbox, and where: an extractor, so that no handler forgets to ask.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
    response::Response,
};
use engine::{Caller, Engine};
use protocol::SandboxId;

use super::super::{
    endpoints::{EXECD_PORT, Port, opened_by},
    error::refusal_response,
    sandbox::{not_found, path_part},
};
use crate::auth::{Identity, Refusal};

/// Who enters, and where.
pub(in super::super) struct Entrant {
    pub(super) caller: Caller,
    pub(super) id: SandboxId,
    pub(super) port: u16,
}

impl<S> FromRequestParts<S> for Entrant
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let name = path_part(parts, state, "sandbox_id").await;
        let id: Option<SandboxId> = name.parse().ok();
        let port = Port::from_request_parts(parts, state).await;
        let (header, purpose) = opened_by(port.as_ref().map_or(EXECD_PORT, |Port(port)| *port));
        let token = parts.headers.get(header).and_then(|token| token.to_str().ok());
        let by_token = || Engine::from_ref(state).caller_by_token(id?, token?, purpose);
        let caller = match by_token() {
            Some(caller) => caller,
            None => by_key(&Identity::of(&parts.extensions), token.is_some()).map_err(refusal_response)?,
        };
        let id = id.ok_or_else(|| not_found(&name))?;
        let Port(port) = port?;
        Ok(Self { caller, id, port })
    }
}

fn by_key(identity: &Identity, with_token: bool) -> Result<Caller, Refusal> {
    match identity.key_always() {
        Ok(()) => identity.caller(),
        // The token is what was wrong.
        Err(Refusal::Missing) if with_token => Err(Refusal::Invalid),
        Err(refusal) => Err(refusal),
    }
}
