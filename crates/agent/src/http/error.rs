//! Errors as a client sees them: a status and `{"code","message"}`.

use hyper::{StatusCode, header};
use protocol::agent::{Failure, FailureKind};
use serde::Serialize;

use super::{Outgoing, Reply, json, text};

/// Why a request is not answered as it wished.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
    header: Option<(header::HeaderName, String)>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    /// 400 for a body that is not what it should be.
    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST_BODY", message)
    }

    /// 400 for a query.
    pub(crate) fn query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_QUERY", message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// 409.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "CONFLICT", message)
    }

    /// The same with a header.
    pub(crate) fn with_header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// What it says to a reader.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same as text alone, for a dialect whose errors are that.
    pub(crate) fn into_text(self) -> Reply {
        let mut reply = text(Outgoing::Whole(Some(self.message.into())));
        *reply.status_mut() = self.status;
        if let Some((name, value)) = self.header
            && let Ok(value) = value.parse()
        {
            reply.headers_mut().insert(name, value);
        }
        reply
    }

    pub(crate) fn into_reply(self) -> Reply {
        let mut reply = json(&ErrorBody { code: self.code, message: &self.message });
        *reply.status_mut() = self.status;
        if let Some((name, value)) = self.header
            && let Ok(value) = value.parse()
        {
            reply.headers_mut().insert(name, value);
        }
        reply
    }
}

impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        let (status, code) = match failure.kind {
            FailureKind::NotFound => (StatusCode::NOT_FOUND, "FILE_NOT_FOUND"),
            FailureKind::WrongType
            | FailureKind::Invalid
            | FailureKind::Folder
            | FailureKind::Outside
            | FailureKind::TooLarge => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            FailureKind::Denied => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            FailureKind::LimitReached => (StatusCode::TOO_MANY_REQUESTS, "LIMIT_REACHED"),
            FailureKind::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "DISK_FULL"),
            FailureKind::Refused | FailureKind::Other => (StatusCode::INTERNAL_SERVER_ERROR, "RUNTIME_ERROR"),
        };
        Self::new(status, code, failure.message)
    }
}
