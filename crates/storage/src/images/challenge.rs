//! What a registry wants to be shown (`WWW-Authenticate`, RFC 9110), and where a token is to be had.

/// A login that a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password, with each request.
    Basic,
    /// A token, from somewhere.
    Bearer { realm: String, service: Option<String> },
}

/// Reads the header's value. Of several challenges the first that is known counts.
pub(super) fn challenge_read(value: &str) -> Option<Challenge> {
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest);
    let of = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    Some(Challenge::Bearer { realm: of("realm")?, service: of("service") })
}

/// `key="value, with commas", key=value`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let Some(end) = quoted.find('"') else { break };
                (&quoted[..end], &quoted[end + 1..])
            }
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        parameters.push((key.trim().to_owned(), value.trim().to_owned()));
        rest = after.trim_start_matches([',', ' ']);
    }
    parameters
}

/// A text as a part of a URL's query.
pub(super) fn query_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // A String takes everything.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer =
            "Bearer realm=\"https://auth.example/token\",service=\"r, x\",scope=\"repository:a/b:pull\"";
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("r, x".to_owned()),
        };
        assert_eq!(challenge_read(bearer), Some(expected));
        assert_eq!(challenge_read("basic realm=\"x\""), Some(Challenge::Basic));
        let bare = Challenge::Bearer { realm: "http://localhost/t".to_owned(), service: None };
        assert_eq!(challenge_read("bearer realm=http://localhost/t"), Some(bare));
        for value in ["", "Bearer", "Bearer realm=\"x", "Bearer service=\"y\"", "Negotiate"] {
            assert_eq!(challenge_read(value), None, "{value}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query_encode("repository:a/b:pull"), "repository:a/b:pull");
        assert_eq!(query_encode("a&b=c d\n"), "a%26b%3Dc%20d%0A");
    }
}
