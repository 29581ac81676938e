//! Where what runs inside a sandbox is reached: always through this server, which asks for a key or the sandbox's token.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use engine::{Engine, Purpose};
use protocol::SandboxId;

use super::{
    error::LifecycleError,
    sandbox::{Named, path_part},
    types::{EndpointBody, ErrorResponse},
};
use crate::{extract::QueryParams, origin::host_called, reject::Rejection};

/// The port that clients look for execd on.
pub(super) const EXECD_PORT: u16 = 44_772;
/// The port that clients look for the network policy on. Nothing inside listens there: the server answers.
pub(super) const EGRESS_PORT: u16 = 18_080;

/// What opens a port: the header, as clients are told of it, and what the token is for. Who may run programs in a
/// sandbox may not change whom it reaches.
pub(super) fn opened_by(port: u16) -> (&'static str, Purpose) {
    match port {
        EGRESS_PORT => ("OPENSANDBOX-EGRESS-AUTH", Purpose::NetworkPolicy),
        _ => ("X-EXECD-ACCESS-TOKEN", Purpose::Enter),
    }
}

/// Says where a port of a sandbox is reached. Both modes of clients get the same answer.
#[utoipa::path(
    get,
    path = "/v1/sandboxes/{sandbox_id}/endpoints/{port}",
    tag = "opensandbox",
    params(
        ("sandbox_id" = String, Path, description = "The sandbox"),
        ("port" = u16, Path, description = "The port inside", minimum = 1),
        ("use_server_proxy" = Option<bool>, Query, description = "Makes no difference here"),
        ("expires" = Option<String>, Query, description = "Signed endpoints: there are none here"),
    ),
    responses(
        (status = 200, description = "The endpoint", body = EndpointBody),
        (status = 400, description = "No port, or something that is not there", body = ErrorResponse),
        (status = 404, description = "There is no such sandbox", body = ErrorResponse),
    )
)]
pub(super) async fn endpoint_get(
    State(engine): State<Engine>,
    named: Named,
    uri: Uri,
    headers: HeaderMap,
    Port(port): Port,
    query: Result<QueryParams<Vec<(String, String)>>, Rejection>,
) -> Result<Json<EndpointBody>, LifecycleError> {
    let QueryParams(query) = query?;
    query_check(&query)?;
    let host = host_called(&uri, &headers).map_or_else(|| "localhost".to_owned(), |host| host.to_string());
    let (header, purpose) = opened_by(port);
    Ok(Json(EndpointBody {
        endpoint: endpoint(&host, named.id(), port),
        headers: BTreeMap::from([(header, engine.access_token(&named.sandbox, purpose))]),
    }))
}

fn endpoint(host: &str, sandbox: SandboxId, port: u16) -> String {
    format!("{host}/v1/sandboxes/{sandbox}/proxy/{port}")
}

fn query_check(query: &[(String, String)]) -> Result<(), LifecycleError> {
    for (name, value) in query {
        match name.as_str() {
            "use_server_proxy" if !["true", "false", "1", "0", "True", "False"].contains(&value.as_str()) => {
                return Err(LifecycleError::invalid(name, "must be true or false"));
            }
            "expires" => {
                let problem = "this server signs no endpoints; use the headers of the answer without it";
                return Err(LifecycleError::invalid(name, problem));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The port that a path names, as an extractor.
pub(super) struct Port(pub(super) u16);

impl<S: Send + Sync> FromRequestParts<S> for Port {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let text = path_part(parts, state, "port").await;
        let port = text.parse::<u16>().ok().filter(|port| *port > 0 && !text.starts_with('+'));
        let wrong = || LifecycleError::invalid("port", "must be a number from 1 to 65535").into_response();
        port.map(Self).ok_or_else(wrong)
    }
}
