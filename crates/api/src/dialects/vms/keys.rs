//! Keys: make one, list them, and whose the request is.

use axum::{Json, extract::State, http::StatusCode};
use engine::Engine;

use super::{
    convert,
    error::VmsError,
    types::{KeyMadeBody, KeyRequest, KeysBody, MeBody},
};
use crate::{
    caller::{Holder, KeyMaker},
    error::ErrorBody,
    extract::{JsonBody, or_default},
    reject::Rejection,
};

/// Makes a key. It is shown in the answer and never again.
///
/// Needs an administrator's key, except on a loopback listener as long as there never was one.
#[utoipa::path(
    post,
    path = "/api-keys",
    tag = "vms",
    request_body = KeyRequest,
    responses(
        (status = 201, description = "Made", body = KeyMadeBody),
        (status = 400, description = "The text names the field", body = ErrorBody),
        (status = 403, description = "Not an administrator's key", body = ErrorBody),
        (status = 413, description = "The body is over the limit", body = ErrorBody),
    )
)]
pub(super) async fn key_create(
    State(engine): State<Engine>,
    KeyMaker(caller): KeyMaker,
    body: Result<JsonBody<KeyRequest>, Rejection>,
) -> Result<(StatusCode, Json<KeyMadeBody>), VmsError> {
    let KeyRequest { name } = or_default(body)?;
    let (key, secret) = engine.key_create(&caller, name, false).await?;
    Ok((StatusCode::CREATED, Json(convert::key_made_body(key, &secret))))
}

/// Lists the keys that count, masked, the newest first.
///
/// Needs an administrator's key, except on a loopback listener as long as there never was one.
#[utoipa::path(
    get,
    path = "/api-keys",
    tag = "vms",
    responses(
        (status = 200, description = "The keys", body = KeysBody),
        (status = 403, description = "Not an administrator's key", body = ErrorBody),
    )
)]
pub(super) async fn key_list(State(engine): State<Engine>, _: KeyMaker) -> Result<Json<KeysBody>, VmsError> {
    Ok(Json(convert::keys_body(engine.key_list().await?)))
}

/// Whose key the request has.
#[utoipa::path(
    get,
    path = "/me",
    tag = "vms",
    responses(
        (status = 200, description = "The key", body = MeBody),
        (status = 403, description = "No key of this server", body = ErrorBody),
    )
)]
pub(super) async fn key_get(Holder(key): Holder) -> Json<MeBody> {
    Json(convert::me_body(key))
}
