//! Which headers pass through, and which are added (RFC 9110, section 7.6).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of one connection, which end with it.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What is for this server alone. What runs inside must not learn keys of the API.
const OURS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("open-sandbox-api-key"),
    HeaderName::from_static("x-execd-access-token"),
    HeaderName::from_static("opensandbox-egress-auth"),
];

/// What is told of the request's way.
pub(super) struct Way<'a> {
    /// Who sent it.
    pub(super) from: Option<String>,
    /// The name that this server was called by.
    pub(super) host: Option<&'a str>,
    /// What the path began with.
    pub(super) prefix: &'a str,
}

/// The headers that go in.
pub(super) fn inward(given: &HeaderMap, host: &str, way: &Way<'_>) -> HeaderMap {
    let upgrade = given.get(header::UPGRADE).filter(|_| is_upgrade(given)).cloned();
    let mut headers = without_hops(given);
    for name in OURS.iter().chain([&header::EXPECT]) {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    let mut set = |name: &'static str, value: Option<&str>| {
        let name = HeaderName::from_static(name);
        match value.and_then(|value| HeaderValue::from_str(value).ok()) {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    };
    set("host", Some(host));
    set("x-forwarded-for", way.from.as_deref());
    set("x-forwarded-host", way.host);
    set("x-forwarded-proto", Some("http"));
    set("x-forwarded-prefix", Some(way.prefix));
    headers
}

/// The headers that go out.
pub(super) fn outward(given: &HeaderMap, is_upgraded: bool) -> HeaderMap {
    let upgrade = given.get(header::UPGRADE).filter(|_| is_upgraded).cloned();
    let mut headers = without_hops(given);
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    headers
}

/// Whether the connection is to become another protocol's.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && connection_words(headers).any(|word| word == "upgrade")
}

fn without_hops(given: &HeaderMap) -> HeaderMap {
    let mut headers = given.clone();
    for word in connection_words(given) {
        headers.remove(word);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers
}

fn connection_words(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|word| word.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn inward_of(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let way = Way { from: Some("192.0.2.1".to_owned()), host: Some("atoll.example"), prefix: "/p" };
        inward(&map(pairs), "localhost:8000", &way)
    }

    #[test]
    fn keys_and_tokens_stay_outside() {
        let headers = inward_of(&[
            ("authorization", "Bearer ws_1"),
            ("cookie", "session=1"),
            ("x-api-key", "ws_1"),
            ("open-sandbox-api-key", "ws_1"),
            ("x-execd-access-token", "1"),
            ("opensandbox-egress-auth", "1"),
            ("accept", "*/*"),
        ]);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(headers["accept"], "*/*");
        assert!(OURS.iter().all(|name| !headers.contains_key(name)), "{names:?}");
    }

    #[test]
    fn headers_of_a_connection_end_with_it() {
        let given = [("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "trailers"), ("x-other", "2")];
        for headers in [inward_of(&given), outward(&map(&given), false)] {
            assert!(!headers.contains_key("x-mine") && !headers.contains_key("connection"));
            assert_eq!(headers["x-other"], "2");
        }
        let upgrade = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_eq!(inward_of(&upgrade)["upgrade"], "websocket");
        assert_eq!(outward(&map(&upgrade), true)["connection"], "upgrade");
        assert!(!inward_of(&[("upgrade", "h2c")]).contains_key("upgrade"));
    }

    #[test]
    fn the_way_is_told_and_can_not_be_made_up() {
        let headers =
            inward_of(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-host", "evil"), ("host", "x")]);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-host"], "atoll.example");
        assert_eq!(headers["x-forwarded-prefix"], "/p");
        assert_eq!(headers["host"], "localhost:8000");
    }
}
