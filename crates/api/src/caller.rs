//! Who asks, as an extractor, so that no handler decides it.
//!
//! The server asks for no keys: whoever reaches it is its operator. What keeps others from reaching it is the
//! address it listens on and, for web pages in the operator's browser, `origin.rs`.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use engine::Caller;

/// The caller of a request.
pub(crate) struct Asker(pub(crate) Caller);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Caller::open()))
    }
}
