//! Why a request is not let in, and the usual answer to that.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use crate::error::error_response;

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No key where one is needed.
    #[error("API key required (x-api-key header)")]
    Missing,
    /// A text that is no key, or a key that was revoked.
    #[error("Invalid API key")]
    Invalid,
    /// Headers with different keys.
    #[error("The request has several API keys that differ; send one")]
    Several,
    /// A good key, for something that takes an administrator's.
    #[error("This needs the key of an administrator")]
    NotAdmin,
    /// Too many wrong keys came from this address.
    #[error("Too many wrong API keys from this address; try again in {retry_after_s} s")]
    TooMany {
        /// Until when wrong keys are not looked at any more.
        retry_after_s: u32,
    },
    /// The keys can't be read; the text is the client's.
    #[error("{0}")]
    Broken(String),
}

impl Refusal {
    /// The usual status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::Several => StatusCode::BAD_REQUEST,
            Self::NotAdmin => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `{"error": "…"}` with the usual status.
    pub(crate) fn respond(self) -> Response {
        let status = self.status();
        self.respond_with(status)
    }

    /// `{"error": "…"}` with another one.
    pub(crate) fn respond_with(self, status: StatusCode) -> Response {
        self.headers_add(error_response(status, self.to_string()))
    }

    /// The headers that belong to a refusal, whatever its body.
    pub(crate) fn headers_add(&self, mut response: Response) -> Response {
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 15.5.2: a 401 names a way in.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::TooMany { retry_after_s } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_headers() {
        let (missing, many) = (Refusal::Missing.respond(), Refusal::TooMany { retry_after_s: 7 }.respond());
        assert_eq!(
            (missing.status(), &missing.headers()[header::WWW_AUTHENTICATE]),
            (StatusCode::UNAUTHORIZED, &HeaderValue::from_static("Bearer"))
        );
        assert_eq!(many.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(many.headers()[header::RETRY_AFTER], "7");
        let other = Refusal::Invalid.respond_with(StatusCode::FORBIDDEN);
        assert_eq!(other.status(), StatusCode::FORBIDDEN);
        assert!(!other.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
