//! Bodies of requests that are JSON: of bounded size, with errors that say what is wrong where.

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, StatusCode, body};
use serde::de::DeserializeOwned;

use super::HttpError;

/// A request as it comes in.
pub(crate) type Incoming = Request<body::Incoming>;

/// The largest JSON body.
const JSON_BYTES_MAX: usize = 4 << 20;

/// The body's value, which must be an object.
///
/// # Errors
/// 400 when it is none, 413 when it is too large.
pub(crate) async fn json_object<T: DeserializeOwned>(request: Incoming) -> Result<T, HttpError> {
    value_of(&bytes_read(request).await?, b'{')
}

/// The body's values, which must be an array.
///
/// # Errors
/// As [`json_object`].
pub(crate) async fn json_array<T: DeserializeOwned>(request: Incoming) -> Result<Vec<T>, HttpError> {
    value_of(&bytes_read(request).await?, b'[')
}

/// The body's value as [`json_object`], or the default one of an empty body.
///
/// # Errors
/// As [`json_object`].
pub(crate) async fn json_optional<T: DeserializeOwned + Default>(request: Incoming) -> Result<T, HttpError> {
    match bytes_read(request).await? {
        bytes if bytes.trim_ascii().is_empty() => Ok(T::default()),
        bytes => value_of(&bytes, b'{'),
    }
}

/// A value whose text starts so: an object could otherwise also be written as an array of its fields.
fn value_of<T: DeserializeOwned>(bytes: &[u8], opening: u8) -> Result<T, HttpError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| HttpError::body(format!("the body is not as it should be: {error}")))?;
    if bytes.trim_ascii_start().first() == Some(&opening) {
        Ok(value)
    } else {
        Err(HttpError::body(format!("the body must begin with `{}`", char::from(opening))))
    }
}

async fn bytes_read(request: Incoming) -> Result<bytes::Bytes, HttpError> {
    match Limited::new(request.into_body(), JSON_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(HttpError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "REQUEST_TOO_LARGE",
            format!("the body is over {JSON_BYTES_MAX} bytes"),
        )),
        Err(error) => Err(HttpError::body(format!("the body broke off: {error}"))),
    }
}
