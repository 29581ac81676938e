//! What handlers are given: the engine, the settings and the OpenAPI document. Nothing that changes lives
//! here.

use std::sync::Arc;

use axum::extract::FromRef;
use engine::Engine;

use crate::{openapi::ServedDocument, settings::ApiSettings};

/// The router's state. Cloned per request, so it holds cheap handles only.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(crate) engine: Engine,
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) document: ServedDocument,
}

impl FromRef<ApiState> for Engine {
    fn from_ref(state: &ApiState) -> Self {
        state.engine.clone()
    }
}

impl FromRef<ApiState> for Arc<ApiSettings> {
    fn from_ref(state: &ApiState) -> Self {
        Self::clone(&state.settings)
    }
}

impl FromRef<ApiState> for ServedDocument {
    fn from_ref(state: &ApiState) -> Self {
        state.document.clone()
    }
}
