//! Sessions with walls of their own inside a sandbox: there are none. A sandbox of its own is made in milliseconds.

use hyper::StatusCode;
use serde::Serialize;

use crate::http::{HttpError, Reply, json};

const NOT_HERE: &str = "isolated sessions are not available; make another sandbox";

#[derive(Serialize)]
struct Capabilities {
    available: bool,
    message: &'static str,
}

/// `GET /v1/isolated/capabilities`
pub(super) fn capabilities() -> Reply {
    json(&Capabilities { available: false, message: NOT_HERE })
}

/// All else below `/v1/isolated`.
pub(super) fn refusal() -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_SUPPORTED", NOT_HERE)
}
