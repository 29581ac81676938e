//! The OpenAPI document: its head, and `GET /openapi.json`. The rest is generated from the handlers.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{auth, state::ApiState};

/// What the document says of the API as a whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "Atoll", description = "Runs untrusted code in isolated Linux sandboxes."),
    tags(
        (name = "server", description = "The server itself"),
        (name = "sandbox-service", description = "Create a sandbox for a program, run it, send files"),
        (name = "opensandbox", description = "OpenSandbox's lifecycle API, and the way into sandboxes"),
        (name = "vms", description = "Named machines, commands in them, their snapshots; API keys"),
    )
)]
struct Head;

/// A router without routes, whose document has a head.
pub(crate) fn empty() -> OpenApiRouter<ApiState> {
    let mut document = Head::openapi();
    auth::schemes_add(&mut document);
    OpenApiRouter::with_openapi(document)
}

pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(document_get))
}

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct ServedDocument(Bytes);

impl ServedDocument {
    pub(crate) fn new(document: &utoipa::openapi::OpenApi) -> Self {
        Self(json(document).into())
    }
}

/// The document as JSON. It holds strings, numbers and lists only, for which encoding does not fail.
///
/// The specification has no word for the rest of a path: it is written as one part.
pub(crate) fn json(document: &utoipa::openapi::OpenApi) -> String {
    document.to_pretty_json().unwrap_or_default().replace("{*path}", "{path}") + "\n"
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "server",
    responses((status = 200, description = "The OpenAPI document of this server", body = serde_json::Value))
)]
async fn document_get(State(document): State<ServedDocument>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0).into_response()
}
