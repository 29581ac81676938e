//! The machine that a path names, as an extractor: no handler looks for one, and none forgets whose it is.

use axum::{
    extract::{FromRef, FromRequestParts, Path},
    http::request::Parts,
    response::{IntoResponse, Response},
};
use engine::{Caller, Engine, ErrorKind, Sandbox, SandboxSpec};
use protocol::SandboxId;
use serde::Deserialize;

use super::{DIALECT, error::VmsError};
use crate::{caller::Asker, reject::Rejection};

/// The machine, and who asks for it.
pub(super) struct Machine {
    pub(super) caller: Caller,
    pub(super) vm: Sandbox,
}

/// What the paths below a machine have.
#[derive(Deserialize)]
struct Names {
    name: String,
}

impl<S> FromRequestParts<S> for Machine
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let Asker(caller) = Asker::from_request_parts(parts, state).await?;
        let Ok(Path(Names { name })) = Path::<Names>::from_request_parts(parts, state).await else {
            return Err(Rejection::RouteUnknown(parts.uri.path().to_owned()).into_response());
        };
        let found = Engine::from_ref(state).sandbox_by_name(&caller, DIALECT, &name).await;
        match found {
            Ok(vm) => Ok(Self { caller, vm }),
            Err(error) => Err(VmsError::vm(&name, error).into_response()),
        }
    }
}

impl Machine {
    pub(super) fn id(&self) -> SandboxId {
        self.vm.id
    }

    pub(super) fn name(&self) -> &str {
        self.vm.name.as_deref().unwrap_or_default()
    }

    /// What an engine error means for this machine.
    pub(super) fn failed(&self, error: engine::Error) -> VmsError {
        VmsError::vm(self.name(), error)
    }
}

/// What an engine error means for a machine that was to be made.
pub(super) fn making_failed(spec: &SandboxSpec) -> impl FnOnce(engine::Error) -> VmsError + use<> {
    let name = spec.name.clone().unwrap_or_default();
    move |error| match error.kind() {
        ErrorKind::Conflict => VmsError::VmExists(name),
        _ => VmsError::vm(&name, error),
    }
}
