//! Which key a request presents. It must not know which keys are good.

use axum::http::{HeaderMap, HeaderValue, header};

/// The headers that carry nothing but a key.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "open-sandbox-api-key"];

/// What a request presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    /// No key.
    Nothing,
    /// A text that may be a key.
    Text(String),
    /// Texts that differ. Which of them counts must not depend on who reads the headers first.
    Several,
}

impl Presented {
    /// Looks into every header that may carry a key. An empty one presents nothing, and neither does an
    /// `Authorization` of another scheme: that may be for a proxy on the way.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let own = KEY_HEADERS.iter().flat_map(|name| headers.get_all(*name)).map(HeaderValue::as_bytes);
        let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer_of);
        let mut texts = own.chain(bearer).map(<[u8]>::trim_ascii).filter(|text| !text.is_empty());
        match texts.next() {
            None => Self::Nothing,
            Some(first) if texts.all(|text| text == first) => {
                Self::Text(String::from_utf8_lossy(first).into_owned())
            }
            Some(_) => Self::Several,
        }
    }
}

fn bearer_of(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Presented {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Presented::of(&pairs.collect())
    }

    fn text(text: &str) -> Presented {
        Presented::Text(text.to_owned())
    }

    #[test]
    fn a_key_comes_in_any_of_the_headers() {
        for header in [
            ("x-api-key", "k"),
            ("open-sandbox-api-key", "k"),
            ("authorization", "Bearer k"),
            ("authorization", "bearer  k "),
        ] {
            assert_eq!(of(&[header]), text("k"), "{header:?}");
        }
        assert_eq!(of(&[("x-api-key", "k"), ("authorization", "Bearer k"), ("x-api-key", "k")]), text("k"));
    }

    #[test]
    fn keys_that_differ_are_several() {
        assert_eq!(of(&[("x-api-key", "k"), ("authorization", "Bearer l")]), Presented::Several);
        assert_eq!(of(&[("x-api-key", "k"), ("open-sandbox-api-key", "l")]), Presented::Several);
    }

    #[test]
    fn nothing_is_presented_by_empty_headers_and_other_schemes() {
        for header in
            [("x-api-key", ""), ("x-api-key", " "), ("authorization", "Bearer "), ("authorization", "Bearer")]
        {
            assert_eq!(of(&[header]), Presented::Nothing, "{header:?}");
        }
        assert_eq!(of(&[]), Presented::Nothing);
        assert_eq!(of(&[("authorization", "Basic a2V5"), ("x-api-key", "k")]), text("k"));
    }
}
