//! The OpenAPI document: its head, and `GET /openapi.json`. The rest is generated from the handlers.

use std::collections::HashMap;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::{OpenApi, openapi::path::Operation};
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
        (name = "executor", description = "The executor API of a sandbox, and the port that it shows"),
        (name = "sessions", description = "Workspaces for browser IDEs: files, commands, live terminals"),
        (name = "vms", description = "Named machines, commands in them, their snapshots; API keys"),
    )
)]
struct Head;

/// Gives every operation a name of its own, as the specification of OpenAPI asks: clients that are generated call them
/// by those. Handlers of different dialects may be called alike, and one may serve several methods.
pub(crate) fn operations_name(document: &mut utoipa::openapi::OpenApi) {
    let mut times: HashMap<String, usize> = HashMap::new();
    operations(document, |_, operation| {
        *times.entry(operation.operation_id.clone().unwrap_or_default()).or_default() += 1;
    });
    operations(document, |method, operation| {
        let tag =
            operation.tags.iter().flatten().next().map_or_else(String::new, |tag| tag.replace('-', "_"));
        if let Some(id) = operation.operation_id.as_mut().filter(|id| times[id.as_str()] > 1) {
            *id = format!("{tag}_{id}_{method}");
        }
    });
}

/// Every operation of a document, with its method.
pub(crate) fn operations(
    document: &mut utoipa::openapi::OpenApi,
    mut each: impl FnMut(&'static str, &mut Operation),
) {
    for item in document.paths.paths.values_mut() {
        let all = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("options", &mut item.options),
            ("head", &mut item.head),
            ("patch", &mut item.patch),
            ("trace", &mut item.trace),
        ];
        for (method, operation) in all {
            operation.iter_mut().for_each(|operation| each(method, operation));
        }
    }
}

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
