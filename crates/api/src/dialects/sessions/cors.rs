//! Pages of other sites: which may use this dialect, and what browsers are told of it.
//!
//! Only this dialect's paths are concerned. Credentials of a browser are never let through: who asks is said by a key,
//! or by a session's id.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use super::{SOCKET, is_ours};
use crate::{origin::PageAdmitted, settings::ApiSettings};

/// Subprotocol that browsers ask for beside the one that carries their key.
pub(super) const SUBPROTOCOL: &str = "sessions";
/// What the subprotocol begins with that carries a key: a browser can set no header on a WebSocket.
const KEY_SUBPROTOCOL: &str = "key.";

/// Stands outside of the check against foreign pages: tells it which are admitted, and tells browsers so.
pub(crate) fn front(router: Router, settings: Arc<ApiSettings>) -> Router {
    router.layer(middleware::from_fn_with_state(settings, tell))
}

async fn tell(State(settings): State<Arc<ApiSettings>>, mut request: Request, next: Next) -> Response {
    if !is_ours(request.uri().path()) {
        return next.run(request).await;
    }
    if request.uri().path() == SOCKET {
        key_move(request.headers_mut());
    }
    let origins = &settings.sessions.origins;
    let allowed = origin_allowed(request.headers(), origins);
    if allowed.is_some() {
        request.extensions_mut().insert(PageAdmitted);
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    if !is_any(origins) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

fn is_any(origins: &[String]) -> bool {
    origins.iter().any(|origin| origin == "*")
}

/// What is said of the page that asks; of none where any may.
fn origin_allowed(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    if is_any(origins) {
        return Some(HeaderValue::from_static("*"));
    }
    let mut asking = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (asking.next(), asking.next()) else { return None };
    let text = origin.to_str().ok()?;
    origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)).then(|| origin.clone())
}

/// A key in the list of subprotocols becomes the header that it would be in elsewhere.
fn key_move(headers: &mut HeaderMap) {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let words = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let keys: Vec<HeaderValue> = words
        .filter_map(|word| word.trim().strip_prefix(KEY_SUBPROTOCOL))
        .filter_map(|key| HeaderValue::try_from(format!("Bearer {key}")).ok())
        .collect();
    for key in keys {
        headers.append(header::AUTHORIZATION, key);
    }
}

/// Answers a browser that asks whether a page may ask. It shows nothing of anybody, so it takes no key.
pub(crate) async fn preflight(request: Request, next: Next) -> Response {
    let asks = request.method() == Method::OPTIONS
        && is_ours(request.uri().path())
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.extensions().get::<PageAdmitted>().is_some();
    if !asks {
        return next.run(request).await;
    }
    let told = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Authorization"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, told).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_page_is_admitted_by_its_origin() {
        let listed = ["https://ide.example".to_owned()];
        let of = |origin| origin_allowed(&headers(&[(header::ORIGIN, origin)]), &listed);
        assert_eq!(of("https://ide.example").unwrap(), "https://ide.example");
        for other in ["https://ide.example.evil", "http://ide.example", "null", ""] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(origin_allowed(&HeaderMap::new(), &listed), None);
        assert_eq!(origin_allowed(&HeaderMap::new(), &["*".to_owned()]).unwrap(), "*");
    }

    #[test]
    fn a_key_comes_as_a_subprotocol() {
        let mut headers = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "sessions, key.ws_1")]);
        key_move(&mut headers);
        assert_eq!(headers[header::AUTHORIZATION], "Bearer ws_1");
    }
}
