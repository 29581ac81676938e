//! Whom a sandbox may reach, looked at and changed while it runs.

use axum::{Json, extract::State};
use engine::Engine;

use super::{
    convert,
    error::LifecycleError,
    sandbox::Named,
    types::{ErrorResponse, NetworkPolicyBody, NetworkRuleBody, PolicyStatusResponse},
};
use crate::{
    extract::{JsonBody, JsonList, JsonWords},
    reject::Rejection,
};

/// Looks at the network policy.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/networkpolicy",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    responses(
        (status = 200, description = "The policy that is in force", body = PolicyStatusResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn policy_get(named: Named) -> Json<PolicyStatusResponse> {
    Json(convert::policy_body(&named.sandbox.network_policy_in_force()))
}

/// Puts another policy in its place. It is in force when this answers.
#[utoipa::path(
    put,
    path = "/v1/sandboxes/{sandbox_id}/networkpolicy",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = NetworkPolicyBody,
    responses(
        (status = 200, description = "The policy that is in force", body = PolicyStatusResponse),
        (status = 400, description = "The text names the field", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It has no network", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn policy_replace(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonBody<NetworkPolicyBody>, Rejection>,
) -> Result<Json<PolicyStatusResponse>, LifecycleError> {
    let JsonBody(request) = body?;
    let policy = convert::policy_or_open(request)?;
    let policy = engine.network_policy_replace(&named.caller, named.id(), policy).await?;
    Ok(Json(convert::policy_body(&policy)))
}

/// Puts rules in front. One takes the place of an older one with the same target; of several here the first counts.
#[utoipa::path(
    patch,
    path = "/v1/sandboxes/{sandbox_id}/networkpolicy",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = Vec<NetworkRuleBody>,
    responses(
        (status = 200, description = "The policy that is in force", body = PolicyStatusResponse),
        (status = 400, description = "The text names the field", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It has no network", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn policy_patch(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonList<NetworkRuleBody>, Rejection>,
) -> Result<Json<PolicyStatusResponse>, LifecycleError> {
    let JsonList(rules) = body?;
    let rules = convert::policy_rules(rules)?;
    let policy = engine.network_policy_patch(&named.caller, named.id(), rules).await?;
    Ok(Json(convert::policy_body(&policy)))
}

/// Takes away the rules about these targets, if there are any.
#[utoipa::path(
    delete,
    path = "/v1/sandboxes/{sandbox_id}/networkpolicy",
    tag = "opensandbox",
    params(("sandbox_id" = String, Path, description = "The sandbox")),
    request_body = Vec<String>,
    responses(
        (status = 200, description = "The policy that is in force", body = PolicyStatusResponse),
        (status = 400, description = "No target", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
        (status = 409, description = "It has no network", body = ErrorResponse),
        (status = 413, description = "The body is over the limit", body = ErrorResponse),
        (status = 500, description = "The text has the request's id", body = ErrorResponse),
    )
)]
pub(super) async fn policy_rules_delete(
    State(engine): State<Engine>,
    named: Named,
    body: Result<JsonWords, Rejection>,
) -> Result<Json<PolicyStatusResponse>, LifecycleError> {
    let JsonWords(targets) = body?;
    let targets = convert::policy_targets(&targets)?;
    let policy = engine.network_policy_rules_remove(&named.caller, named.id(), targets).await?;
    Ok(Json(convert::policy_body(&policy)))
}
