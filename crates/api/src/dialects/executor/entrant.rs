//! Who may enter a sandbox: whoever has its access token, as a bearer or in the header that endpoints name, or a key
//! that owns it. An extractor, so that no handler forgets to ask.

use axum::{
    extract::{FromRef, FromRequestParts, RawPathParams},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use engine::{Caller, Engine, Purpose};
use protocol::SandboxId;

use super::error::ExecutorError;
use crate::auth::{Identity, Refusal};

/// What a bearer's token comes after; no other spelling is taken.
const BEARER: &str = "Bearer ";
const TOKEN_HEADER: &str = "x-execd-access-token";
const ROUTING_HEADER: &str = "x-routing-key";

/// Who enters, and where.
pub(super) struct Entrant {
    pub(super) caller: Caller,
    pub(super) id: SandboxId,
}

/// Why nobody enters.
pub(super) struct Unnamed(pub(super) ExecutorError);

impl IntoResponse for Unnamed {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<S> FromRequestParts<S> for Entrant
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Unnamed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Unnamed> {
        let named = match path_name(parts, state).await {
            Some(name) => Some(name),
            None => text_of(&parts.headers, ROUTING_HEADER).map(str::to_owned),
        };
        let id: Option<SandboxId> = named.as_ref().and_then(|name| name.parse().ok());
        let engine = Engine::from_ref(state);
        let bearer = text_of(&parts.headers, header::AUTHORIZATION.as_str());
        let tokens =
            [bearer.and_then(|text| text.strip_prefix(BEARER)), text_of(&parts.headers, TOKEN_HEADER)];
        let by_token = |token: &str| engine.caller_by_token(id?, token, Purpose::Enter);
        let caller = match tokens.into_iter().flatten().find_map(by_token) {
            Some(caller) => caller,
            None => by_key(parts).map_err(|refusal| Unnamed(ExecutorError::Refused(refusal)))?,
        };
        match (id, named) {
            (Some(id), _) => Ok(Self { caller, id }),
            (None, Some(_)) => Err(Unnamed(ExecutorError::not_found())),
            (None, None) => {
                let text = "The header X-Routing-Key must name a sandbox";
                Err(Unnamed(ExecutorError::new(StatusCode::BAD_REQUEST, text)))
            }
        }
    }
}

/// The document asks for a key on every server.
fn by_key(parts: &Parts) -> Result<Caller, Refusal> {
    let identity = Identity::of(&parts.extensions);
    identity.key_always()?;
    identity.caller()
}

/// The sandbox that the path names.
async fn path_name<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok()?;
    params.iter().find(|(given, _)| *given == "sandbox_id").map(|(_, value)| value.to_owned())
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
