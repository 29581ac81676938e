//! The wire of a session's WebSocket: binary messages with a byte for their kind, text messages that are JSON.

use bytes::Bytes;
use protocol::agent::TerminalSize;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Message;

use crate::{exec::OutputStream, sys::number};

/// The close code for whom another client took the place of.
pub(super) const CLOSE_TAKEN_OVER: u16 = 4001;

/// What binary messages begin with.
const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const ERROR_OUTPUT: u8 = 2;
/// An offset follows, 8 bytes, the most significant first; then the bytes from there.
const REPLAY: u8 = 3;

/// What a client wants.
#[derive(Debug)]
pub(super) enum Wish {
    /// Pass this to the program.
    Input(Bytes),
    /// Send this signal.
    Signal(i32),
    Resize(TerminalSize),
    Ping,
}

/// A text message of a client.
#[derive(Deserialize)]
struct ClientFrame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: String,
    cols: Option<u16>,
    rows: Option<u16>,
    #[serde(default)]
    signal: String,
}

/// A text message to a client.
#[derive(Default, Serialize)]
struct ServerFrame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

/// A client's text message.
///
/// # Errors
/// What is wrong with it.
pub(super) fn text_parse(text: &str) -> Result<Wish, String> {
    let frame: ClientFrame =
        serde_json::from_str(text).map_err(|error| format!("the message is not as it should be: {error}"))?;
    match frame.kind.as_str() {
        "stdin" => Ok(Wish::Input(frame.data.into())),
        "signal" => match frame.signal.as_str() {
            "SIGINT" => Ok(Wish::Signal(number::SIGINT)),
            "SIGTERM" => Ok(Wish::Signal(number::SIGTERM)),
            "SIGKILL" => Ok(Wish::Signal(number::SIGKILL)),
            "SIGQUIT" => Ok(Wish::Signal(number::SIGQUIT)),
            "SIGHUP" => Ok(Wish::Signal(number::SIGHUP)),
            name => {
                Err(format!("unknown signal {name:?}; known are SIGINT, SIGTERM, SIGKILL, SIGQUIT, SIGHUP"))
            }
        },
        "resize" => match (frame.rows, frame.cols) {
            (Some(rows @ 1..), Some(cols @ 1..)) => Ok(Wish::Resize(TerminalSize { rows, cols })),
            _ => Err("a resize needs `rows` and `cols`, both at least 1".to_owned()),
        },
        "ping" => Ok(Wish::Ping),
        kind => Err(format!("unknown frame type {kind:?}")),
    }
}

/// A client's binary message; `None` for an empty one, which says nothing.
///
/// # Errors
/// What is wrong with it.
pub(super) fn binary_parse(mut bytes: Bytes) -> Option<Result<Wish, String>> {
    match *bytes.first()? {
        INPUT => Some(Ok(Wish::Input(bytes.split_off(1)))),
        kind => Some(Err(format!("unknown binary frame type {kind}; input begins with 0"))),
    }
}

/// What the program wrote, as it comes.
pub(super) fn output(stream: OutputStream, bytes: &[u8]) -> Message {
    let kind = match stream {
        OutputStream::Stdout => OUTPUT,
        OutputStream::Stderr => ERROR_OUTPUT,
    };
    Message::binary([&[kind], bytes].concat())
}

/// What it wrote before, from an offset.
pub(super) fn replay(offset: u64, bytes: &[u8]) -> Message {
    Message::binary([&[REPLAY], &offset.to_be_bytes()[..], bytes].concat())
}

pub(super) fn connected(id: &str, mode: &'static str, role: &'static str) -> Message {
    let frame = ServerFrame { kind: "connected", session_id: Some(id), ..ServerFrame::default() };
    text(&ServerFrame { mode: Some(mode), role: Some(role), ..frame })
}

pub(super) fn pong() -> Message {
    text(&ServerFrame { kind: "pong", ..ServerFrame::default() })
}

pub(super) fn exit(code: i32) -> Message {
    text(&ServerFrame { kind: "exit", exit_code: Some(code), ..ServerFrame::default() })
}

pub(super) fn error(code: &'static str, reason: &str) -> Message {
    text(&ServerFrame { kind: "error", code: Some(code), error: Some(reason), ..ServerFrame::default() })
}

fn text(frame: &ServerFrame<'_>) -> Message {
    // It has only strings and numbers.
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
