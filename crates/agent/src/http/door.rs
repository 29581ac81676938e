//! Who may ask: by each door another proof.

use std::net::IpAddr;

use hyper::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq;

use super::HttpError;

/// What a bearer's token comes after.
const BEARER: &[u8] = b"Bearer ";
/// The header that carries the token.
const TOKEN_HEADER: &str = "x-execd-access-token";

/// A secret that is compared without telling by the time how much of it was right.
pub(crate) struct Token(String);

impl Token {
    /// Whether it is this one.
    fn is(&self, given: &[u8]) -> bool {
        given.ct_eq(self.0.as_bytes()).into()
    }

    /// `None` for an empty one, which would be no secret.
    pub(crate) fn new(token: String) -> Option<Self> {
        (!token.is_empty()).then_some(Self(token))
    }
}

/// How a connection came in.
pub(crate) enum Door {
    /// Over the control socket: the server has found out who asks.
    Server,
    /// Over TCP, with a token in each request.
    Token(Token),
    /// Over TCP on the loopback without a token. Whoever may connect may ask, except a web page in a browser.
    Loopback,
    /// Nobody's: that it is there is all that is to be known of it.
    Shut,
}

impl Door {
    /// The same for who shows a token as a bearer, and only so.
    pub(crate) fn opens_to_bearer(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Server => true,
            Self::Token(token) => {
                let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
                given.strip_prefix(BEARER).is_some_and(|given| token.is(given))
            }
            Self::Loopback | Self::Shut => false,
        }
    }

    /// # Errors
    /// 401 without the right token; 403 for what a browser sends for a page of somebody else.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        match self {
            Self::Server => Ok(()),
            Self::Token(token) => {
                let given = headers.get(TOKEN_HEADER).map_or(&b""[..], |value| value.as_bytes());
                if token.is(given) {
                    return Ok(());
                }
                let message = "the header X-EXECD-ACCESS-TOKEN is missing or has not the agent's token";
                Err(HttpError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
            }
            Self::Loopback if headers.contains_key(header::ORIGIN) || !host_is_local(headers) => {
                let message = "without a token, web pages and other host names than localhost are refused; \
                               start the agent with a token";
                Err(HttpError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message))
            }
            Self::Loopback => Ok(()),
            Self::Shut => {
                let message = "nothing is answered on this port; ask the server that runs this sandbox";
                Err(HttpError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message))
            }
        }
    }
}

/// Whether the client means this machine by name or address; a name that was made to lead here is another.
fn host_is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        let is_local = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            host_is_local(&headers)
        };
        for host in ["localhost", "LocalHost:80", "127.0.0.1", "127.1.2.3:9", "[::1]", "[::1]:8080"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.org", "example.org:80", "10.0.0.1:80", "localhost.example.org", "[::2]:80", ""]
        {
            assert!(!is_local(host), "{host}");
        }
        assert!(!host_is_local(&HeaderMap::new()));
    }
}
