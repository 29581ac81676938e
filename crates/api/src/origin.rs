//! Keeps web pages in the operator's browser from using a server that asks for no keys.
//!
//! Listening on loopback keeps other machines out, but not a page that the operator happens to visit: its
//! scripts run on this machine. There are two ways, and each has its check:
//!
//! * *DNS rebinding*: the page's own name is made to resolve to 127.0.0.1, so that the browser takes this
//!   server for the page's and lets it read everything. The browser still sends the page's name as `Host`,
//!   so a `Host` that is not one of this server's names is refused, whatever the method.
//! * *Cross-site requests*: the page sends to `http://127.0.0.1`. It can't read the answer, as no CORS
//!   header allows it, but a `POST` has done its work by then, and a WebSocket has no such rule at all. The
//!   browser names the page in `Origin`, so an `Origin` other than the `Host` is refused for all but plain
//!   reading.
//!
//! Programs send no `Origin` and the right `Host`, and notice nothing.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{reject::Rejection, settings::ApiSettings};

/// An extension of requests that may come through any web page, as their dialect and the operator say. The name that
/// the server is called by is looked at all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageAdmitted;

/// Refuses requests that come through a foreign web page.
pub(crate) async fn origin_check(
    State(settings): State<Arc<ApiSettings>>,
    request: Request,
    next: Next,
) -> Response {
    match refusal(&request, &settings.hosts_allowed) {
        None => next.run(request).await,
        Some(rejection) => rejection.into_response(),
    }
}

/// The name and port that the client called this server by: the request line's (RFC 9112, section 3.2.2),
/// else the `Host` header's. `None` when it is missing, repeated or malformed.
pub(crate) fn host_called(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    }
}

fn refusal(request: &Request, hosts_allowed: &[String]) -> Option<Rejection> {
    let headers = request.headers();
    let Some(host) = host_called(request.uri(), headers).filter(|host| is_ours(host, hosts_allowed)) else {
        return Some(Rejection::Host(header_text(headers, &header::HOST)));
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !headers.contains_key(header::UPGRADE);
    let same_site = headers
        .get_all(header::ORIGIN)
        .iter()
        .all(|origin| origin.to_str().is_ok_and(|origin| is_same_origin(origin, &host)));
    let admitted = request.extensions().get::<PageAdmitted>().is_some();
    (!reads && !same_site && !admitted).then(|| Rejection::Origin(header_text(headers, &header::ORIGIN)))
}

fn header_text(headers: &HeaderMap, name: &header::HeaderName) -> String {
    headers.get(name).map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Whether the name is a loopback one or configured. User information in front of the name is never ours.
fn is_ours(host: &Authority, hosts_allowed: &[String]) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let name = host.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
        || hosts_allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host.as_str()))
}

/// Whether a `Host` header can have this text: a name or an address (an IPv6 one in brackets), alone or with a port.
#[must_use]
pub fn is_host_name(text: &str) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let name = authority.host();
    let is_address = || {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok())
    };
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    (is_name || is_address()) && (authority.port_u16().is_some() || name == text)
}

/// Whether an `Origin` (RFC 6454, section 7) is the page that this server itself serves: same name, same
/// port. `null`, the origin of files and sandboxed frames, never is.
fn is_same_origin(origin: &str, host: &Authority) -> bool {
    let (rest, port_default) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (_, Some(rest)) => (rest, 443),
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(port_default);
    Authority::try_from(rest)
        .is_ok_and(|origin| origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(method: &str, headers: &[(&str, &str)], allowed: &[&str]) -> Option<String> {
        let builder = Request::builder().method(method).uri("/sandbox");
        let request = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        refusal(&request.body(Body::empty()).unwrap(), &allowed).map(|rejection| rejection.to_string())
    }

    #[test]
    fn loopback_names_are_ours_with_any_port() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.8.9.1:8070", "[::1]", "[::1]:3000"] {
            assert_eq!(status("POST", &[("host", host)], &[]), None, "{host}");
        }
    }

    #[test]
    fn any_other_name_is_refused_even_for_reading() {
        let hosts = [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "192.168.1.5:8080",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "localhost.",
            "",
        ];
        for host in hosts {
            assert!(status("GET", &[("host", host)], &[]).unwrap().starts_with("Host: "), "{host}");
        }
        assert!(status("GET", &[], &[]).is_some());
        assert!(status("GET", &[("host", "localhost"), ("host", "evil.example")], &[]).is_some());
    }

    #[test]
    fn the_request_line_wins_over_the_header() {
        let request = Request::builder().uri("http://evil.example/sandbox").header("host", "localhost");
        assert!(refusal(&request.body(Body::empty()).unwrap(), &[]).is_some());
    }

    #[test]
    fn configured_names_are_ours() {
        assert_eq!(status("POST", &[("host", "atoll.example.org:8080")], &["Atoll.example.org"]), None);
        assert_eq!(status("POST", &[("host", "10.0.0.5:8080")], &["10.0.0.5:8080"]), None);
        assert!(status("POST", &[("host", "10.0.0.5:8081")], &["10.0.0.5:8080"]).is_some());
    }

    #[test]
    fn what_a_host_header_may_have() {
        for text in [
            "atoll.example.org",
            "atoll:8080",
            "a_b-c",
            "10.0.0.5",
            "10.0.0.5:80",
            "[fd00::5]",
            "[fd00::5]:80",
        ] {
            assert!(is_host_name(text), "{text}");
        }
        for text in [
            "",
            "a b",
            "a,b",
            " a",
            "https://atoll.example.org",
            "a/b",
            "a:port",
            "a:",
            ":80",
            "a:65536",
            "me@a",
            "fd00::5",
            "[a]",
            "*.example.org",
        ] {
            assert!(!is_host_name(text), "{text}");
        }
    }

    #[test]
    fn a_foreign_page_may_not_write() {
        let host = ("host", "127.0.0.1:8080");
        let origins = [
            "https://evil.example",
            "http://evil.example:8080",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://127.0.0.1:3000",
            "null",
            "file://",
            "",
            "127.0.0.1:8080",
            "http://127.0.0.1:8080.evil.example",
        ];
        for origin in origins {
            for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
                let refused = status(method, &[host, ("origin", origin)], &[]);
                assert!(refused.unwrap().starts_with("Origin: "), "{method} {origin}");
            }
            assert_eq!(status("GET", &[host, ("origin", origin)], &[]), None, "{origin}");
            assert!(status("GET", &[host, ("origin", origin), ("upgrade", "websocket")], &[]).is_some());
        }
    }

    #[test]
    fn the_servers_own_pages_may_write() {
        assert_eq!(
            status("POST", &[("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080")], &[]),
            None
        );
        assert_eq!(status("POST", &[("host", "localhost"), ("origin", "http://localhost:80")], &[]), None);
        let host = ("host", "atoll.example.org");
        assert_eq!(
            status("POST", &[host, ("origin", "https://atoll.example.org")], &["atoll.example.org"]),
            None
        );
    }
}
