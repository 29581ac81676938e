//! Who may enter a sandbox, and where: an extractor, so that no handler forgets to ask.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderName, request::Parts},
    response::Response,
};
use engine::{Caller, Engine};
use protocol::SandboxId;

use super::super::{
    endpoints::Port,
    error::refusal_response,
    sandbox::{not_found, path_part},
};
use crate::auth::{Identity, Refusal};

/// The header that a sandbox's token comes in.
pub(super) const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-execd-access-token");

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
        let token = parts.headers.get(TOKEN_HEADER).and_then(|token| token.to_str().ok());
        let by_token = || Engine::from_ref(state).caller_by_token(id?, token?);
        let caller = match by_token() {
            Some(caller) => caller,
            None => by_key(&Identity::of(&parts.extensions), token.is_some()).map_err(refusal_response)?,
        };
        let id = id.ok_or_else(|| not_found(&name))?;
        let Port(port) = Port::from_request_parts(parts, state).await?;
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
