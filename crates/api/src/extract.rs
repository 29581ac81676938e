//! What handlers take from a request: a JSON body, an id of the path, a query. Each refuses with a
//! [`Rejection`] that names the part, where axum's own extractors would answer in plain text.

use std::{error::Error, str::FromStr, sync::Arc};

use axum::{
    extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use protocol::{SandboxId, SnapshotId};
use serde::de::DeserializeOwned;

use crate::{json_object::JsonObject, limits::body_read, reject::Rejection, settings::ApiSettings};

/// A body that is a JSON object. If the client names a type, it must be JSON; the forms of a web page never are.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    Arc<ApiSettings>: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let JsonObject(value) = json_read(request, state).await?;
        Ok(Self(value))
    }
}

/// The same where the body is an array of JSON objects.
pub(crate) struct JsonList<T>(pub(crate) Vec<T>);

impl<T, S> FromRequest<S> for JsonList<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    Arc<ApiSettings>: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        let items: Vec<JsonObject<T>> = json_read(request, state).await?;
        Ok(Self(items.into_iter().map(|JsonObject(item)| item).collect()))
    }
}

/// The same where the body is an array of strings.
pub(crate) struct JsonWords(pub(crate) Vec<String>);

impl<S> FromRequest<S> for JsonWords
where
    S: Send + Sync,
    Arc<ApiSettings>: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Rejection> {
        json_read(request, state).await.map(Self)
    }
}

async fn json_read<T, S>(request: Request, state: &S) -> Result<T, Rejection>
where
    T: DeserializeOwned,
    Arc<ApiSettings>: FromRef<S>,
{
    content_type_check(request.headers())?;
    let bytes_max = Arc::<ApiSettings>::from_ref(state).body_bytes_max;
    json_parse(&body_read(request, bytes_max).await?)
}

/// The body, or what an empty one means, where nothing was sent: all fields may be left out, or are missed by name.
pub(crate) fn or_default<T: Default>(body: Result<JsonBody<T>, Rejection>) -> Result<T, Rejection> {
    match body {
        Ok(JsonBody(value)) => Ok(value),
        Err(Rejection::BodyMissing) => Ok(T::default()),
        Err(rejection) => Err(rejection),
    }
}

fn content_type_check(headers: &HeaderMap) -> Result<(), Rejection> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        Ok(())
    } else {
        Err(Rejection::ContentType(text.into_owned()))
    }
}

fn json_parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    if body.is_empty() {
        return Err(Rejection::BodyMissing);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(json_refusal)?;
    json.end().map_err(Rejection::JsonMalformed)?;
    Ok(value)
}

fn json_refusal(error: serde_path_to_error::Error<serde_json::Error>) -> Rejection {
    let place_in_body = match error.path().to_string().as_str() {
        "." => "the body".to_owned(),
        item if item.starts_with('[') => format!("the body{item}"),
        field => field.to_owned(),
    };
    let cause = error.into_inner();
    if !cause.is_data() {
        return Rejection::JsonMalformed(cause);
    }
    // The path says where; the place in the text adds nothing.
    let text = cause.to_string();
    let place = format!(" at line {} column {}", cause.line(), cause.column());
    let problem = text.strip_suffix(&place).unwrap_or(&text);
    Rejection::field(shortened(place_in_body), shortened(problem.to_owned()))
}

/// The longest text that an answer repeats of what it refuses: names and values may be as long as the body.
const REPEATED_BYTES_MAX: usize = 512;

fn shortened(mut text: String) -> String {
    if text.len() > REPEATED_BYTES_MAX {
        text.truncate(text.floor_char_boundary(REPEATED_BYTES_MAX));
        text.push('…');
    }
    text
}

/// The id of a sandbox in the path. A text that is no id is an id that nothing has: 404.
pub(crate) struct IdPath(pub(crate) SandboxId);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => {
                SandboxId::from_str(&text).map(Self).map_err(|_| Rejection::SandboxUnknown(text))
            }
            Err(_) => Err(Rejection::RouteUnknown(parts.uri.path().to_owned())),
        }
    }
}

/// The ids of a sandbox and of a snapshot in the path. A text that is no id is an id that nothing has: 404.
pub(crate) struct SnapshotPath(pub(crate) SandboxId, pub(crate) SnapshotId);

impl<S: Send + Sync> FromRequestParts<S> for SnapshotPath {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Ok(Path((sandbox, snapshot))) = Path::<(String, String)>::from_request_parts(parts, state).await
        else {
            return Err(Rejection::RouteUnknown(parts.uri.path().to_owned()));
        };
        let id = SandboxId::from_str(&sandbox).map_err(|_| Rejection::SandboxUnknown(sandbox))?;
        match SnapshotId::from_str(&snapshot) {
            Ok(snapshot) => Ok(Self(id, snapshot)),
            Err(_) => Err(Rejection::SnapshotUnknown),
        }
    }
}

/// The query.
pub(crate) struct QueryParams<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Query(value) = Query::from_request_parts(parts, state).await.map_err(|refused| {
            Rejection::Query(refused.source().map_or_else(|| refused.body_text(), ToString::to_string))
        })?;
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        #[expect(dead_code, reason = "only its type matters")]
        path: String,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only its type matters")]
        files: Vec<File>,
        #[expect(dead_code, reason = "only its type matters")]
        time_ms: Option<u64>,
    }

    fn refusal(body: &str) -> String {
        json_parse::<JsonObject<Body>>(body.as_bytes()).err().unwrap().to_string()
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        assert!(
            refusal(r#"{"files":[{"path":"a"},{"path":5}]}"#)
                .starts_with("files[1].path: invalid type: integer")
        );
        assert!(refusal(r#"{"files":[],"time_ms":-1}"#).starts_with("time_ms: invalid value"));
        assert!(
            refusal(r#"{"files":[],"time_ms":1.5}"#).starts_with("time_ms: invalid type: floating point")
        );
        assert_eq!(refusal("{}"), "the body: missing field `files`");
        assert_eq!(refusal(r#"{"files":[{}]}"#), "files[0]: missing field `path`");
    }

    #[test]
    fn a_body_of_another_kind_is_named_as_the_body() {
        for body in ["[]", "[[],1]", "null", "3", "\"\"", "true"] {
            let text = refusal(body);
            assert!(
                text.starts_with("the body: invalid type: ") && text.ends_with(", expected a JSON object"),
                "{text}"
            );
        }
        let of_list =
            |body: &str| json_parse::<Vec<JsonObject<File>>>(body.as_bytes()).err().unwrap().to_string();
        assert_eq!(of_list("{}"), "the body: invalid type: map, expected a sequence");
        assert_eq!(of_list("[[\"a\"]]"), "the body[0]: invalid type: sequence, expected a JSON object");
        assert!(
            of_list(r#"[{"path":"a"},{"path":5}]"#).starts_with("the body[1].path: invalid type: integer")
        );
    }

    #[test]
    fn what_is_refused_is_not_repeated_at_length() {
        let long = "ä".repeat(100_000);
        let value = refusal(&format!(r#"{{"files":"{long}"}}"#));
        assert!(
            value.starts_with("files: invalid type: string \"ää") && value.len() < 600,
            "{}",
            value.len()
        );
        let word = format!(r#"{{"{long}":{{}}}}"#);
        let named = json_parse::<JsonObject<std::collections::BTreeMap<String, u8>>>(word.as_bytes());
        let named = named.err().unwrap().to_string();
        assert!(named.starts_with("ää") && named.len() < 1200, "{}", named.len());
    }

    #[test]
    fn a_body_that_is_not_json_says_so() {
        for body in ["{", "{'files':[]}", "files=1", r#"{"files":[]} trailing"#, "{\"files\":[\"\u{1}\"]}"] {
            assert!(refusal(body).starts_with("the body is not valid JSON"), "{}", refusal(body));
        }
        assert!(json_parse::<JsonObject<Body>>(b"{\"files\":[{\"path\":\"\xff\"}]}").is_err());
        assert!(json_parse::<serde_json::Value>("[".repeat(100_000).as_bytes()).is_err());
        assert_eq!(refusal(""), "the request has no body; send JSON");
    }

    #[test]
    fn unknown_fields_are_ignored() {
        assert!(json_parse::<JsonObject<Body>>(br#"{"files":[],"more":{"x":[1]}}"#).is_ok());
    }

    #[test]
    fn json_is_accepted_under_its_names_and_without_one() {
        let check = |value: &'static str| {
            content_type_check(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(content_type_check(&HeaderMap::new()).is_ok());
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonx",
            "",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
