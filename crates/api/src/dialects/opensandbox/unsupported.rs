//! Pools and templates of sandboxes. There are none here: they save the time of a start, which takes milliseconds.

use super::{error::LifecycleError, types::ErrorResponse};

fn none() -> LifecycleError {
    LifecycleError::not_here(
        "this server has no pools and no templates; make sandboxes directly, it takes milliseconds",
    )
}

/// Not here.
#[utoipa::path(
    method(get, post),
    path = "/v1/pools",
    tag = "opensandbox",
    responses((status = 501, description = "There are none", body = ErrorResponse))
)]
pub(super) async fn pools() -> LifecycleError {
    none()
}

/// Not here.
#[utoipa::path(
    method(get, put, delete),
    path = "/v1/pools/{pool_name}",
    tag = "opensandbox",
    params(("pool_name" = String, Path, description = "Its name")),
    responses((status = 501, description = "There are none", body = ErrorResponse))
)]
pub(super) async fn pool() -> LifecycleError {
    none()
}

/// Not here.
#[utoipa::path(
    method(get, post),
    path = "/v1/templates",
    tag = "opensandbox",
    responses((status = 501, description = "There are none", body = ErrorResponse))
)]
pub(super) async fn templates() -> LifecycleError {
    none()
}

/// Not here.
#[utoipa::path(
    method(get, delete),
    path = "/v1/templates/{template_id}",
    tag = "opensandbox",
    params(("template_id" = String, Path, description = "Its name")),
    responses((status = 501, description = "There are none", body = ErrorResponse))
)]
pub(super) async fn template() -> LifecycleError {
    none()
}
