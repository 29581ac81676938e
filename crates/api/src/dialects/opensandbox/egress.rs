//! The API that OpenSandbox's egress program serves inside a sandbox. Here the server answers: what enforces a policy is
//! out of the sandbox's reach.

use axum::{
    Json,
    extract::{FromRequest, Request},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use engine::Caller;
use protocol::SandboxId;

use super::{convert, error::LifecycleError, proxy::PREFIX_PARTS};
use crate::{
    extract::{JsonBody, JsonList, JsonWords},
    inside::path_split,
    reject::Rejection,
    state::ApiState,
};

/// Answers a request to the port of egress.
pub(super) async fn answer(
    state: &ApiState,
    caller: &Caller,
    id: SandboxId,
    request: Request,
) -> Result<Response, LifecycleError> {
    let (_, path) = path_split(request.uri().path(), PREFIX_PARTS);
    match path.split('/').next() {
        Some("policy") => policy(state, caller, id, request).await,
        Some("credential-vault") => Err(LifecycleError::new(
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "this server has no credential vault; programs get credentials by their environment",
        )),
        Some("healthz" | "ping") => Ok(StatusCode::OK.into_response()),
        _ => Err(Rejection::RouteUnknown(request.uri().path().to_owned()).into()),
    }
}

async fn policy(
    state: &ApiState,
    caller: &Caller,
    id: SandboxId,
    request: Request,
) -> Result<Response, LifecycleError> {
    let engine = &state.engine;
    let policy = match *request.method() {
        Method::GET | Method::HEAD => engine.network_policy_get(caller, id).await?,
        Method::POST | Method::PUT => {
            let JsonBody(policy) = JsonBody::from_request(request, state).await?;
            engine.network_policy_replace(caller, id, convert::policy_or_open(policy)?).await?
        }
        Method::PATCH => {
            let JsonList(rules) = JsonList::from_request(request, state).await?;
            engine.network_policy_patch(caller, id, convert::policy_rules(rules)?).await?
        }
        Method::DELETE => {
            let JsonWords(targets) = JsonWords::from_request(request, state).await?;
            engine.network_policy_rules_remove(caller, id, convert::policy_targets(&targets)?).await?
        }
        ref method => return Err(Rejection::MethodNotAllowed(method.clone()).into()),
    };
    Ok(Json(convert::policy_body(&policy)).into_response())
}
