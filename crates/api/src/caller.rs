//! Who asks, as extractors, so that no handler decides it.

use axum::{extract::FromRequestParts, http::request::Parts, response::Response};
use engine::{Caller, Key};

use crate::auth::{Identity, Refusal};

/// The caller of a request: a key's, or everybody's where no key is asked for.
pub(crate) struct Asker(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        Identity::of(&parts.extensions).caller().map(Self).map_err(Refusal::respond)
    }
}

/// The key of a request, for routes that are about it.
pub(crate) struct Holder(pub(crate) Key);

impl<S: Sync> FromRequestParts<S> for Holder {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        Identity::of(&parts.extensions).key().cloned().map(Self).map_err(Refusal::respond)
    }
}

/// Who makes or lists keys: an administrator, or whoever makes the first ones.
pub(crate) struct KeyMaker(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for KeyMaker {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let identity = Identity::of(&parts.extensions);
        identity.admin_or_first_keys().map_err(Refusal::respond)?;
        Ok(Self(identity.caller_or_nobody()))
    }
}
