//! The address that the client reaches this server by, for the URLs in its answers.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};
use engine::{ProgramSummary, program::Mode};
use protocol::SandboxId;

use crate::origin::host_called;

/// `http://name:port` as the client called it; empty, so that URLs become paths, when it did not say.
pub(in super::super) struct BaseUrl(pub(super) String);

impl BaseUrl {
    /// Where the development server of a sandbox is reached, if its program has one.
    pub(super) fn dev_server(&self, id: SandboxId, program: &ProgramSummary) -> Option<String> {
        (program.mode == Mode::Persistent && program.dev_server).then(|| format!("{}/proxy/{id}/", self.0))
    }
}

impl<S: Sync> FromRequestParts<S> for BaseUrl {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let host = host_called(&parts.uri, &parts.headers);
        Ok(Self(host.map_or_else(String::new, |host| format!("http://{host}"))))
    }
}
