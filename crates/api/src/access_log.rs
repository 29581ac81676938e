//! The access log: one structured line per request, at debug level, target `atoll::access`.
//!
//! It shows the route's pattern, never the path or the query: those hold ids and may hold secrets.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::Level;

use crate::request_id::RequestId;

const TARGET: &str = "atoll::access";

/// Logs the request once its response's head is known. A streamed body may follow.
pub(crate) async fn request_log(request: Request, next: Next) -> Response {
    if !tracing::enabled!(target: TARGET, Level::DEBUG) {
        return next.run(request).await;
    }
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    tracing::debug!(
        target: TARGET,
        request_id = %RequestId::current(),
        %method,
        route = route.as_ref().map_or("(none)", MatchedPath::as_str),
        status = response.status().as_u16(),
        duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
    );
    response
}
