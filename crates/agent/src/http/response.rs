//! Answers of each kind that there is.

use bytes::Bytes;
use hyper::{
    Response,
    header::{self, HeaderValue},
};
use serde::Serialize;

use super::Outgoing;

/// An answer.
pub(crate) type Reply = Response<Outgoing>;

/// 200 without a body.
pub(crate) fn empty() -> Reply {
    Response::new(Outgoing::Whole(None))
}

/// 200 with a value. The types that are sent have no value that JSON lacks; what had one would send nothing.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    let bytes = Bytes::from(serde_json::to_vec(value).unwrap_or_default());
    of_type("application/json", Outgoing::Whole(Some(bytes)))
}

/// 200 with a value whose text comes in pieces.
pub(crate) fn json_pieces(body: Outgoing) -> Reply {
    of_type("application/json", body)
}

/// 200 with bytes that mean nothing here.
pub(crate) fn octets(body: Outgoing) -> Reply {
    of_type("application/octet-stream", body)
}

/// 200 with text.
pub(crate) fn text(body: Outgoing) -> Reply {
    of_type("text/plain; charset=utf-8", body)
}

/// 200 with events. Nothing on the way may keep or gather them.
pub(crate) fn event_stream(body: Outgoing) -> Reply {
    let mut reply = of_type("text/event-stream", body);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply
}

fn of_type(content_type: &'static str, body: Outgoing) -> Reply {
    let mut reply = Response::new(body);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
