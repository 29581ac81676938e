//! Requests to a running server, for the commands that list and change its sandboxes.

use std::time::Duration;

use serde_json::Value;
use ureq::http::StatusCode;

use crate::{
    cli::ServerAccess,
    failure::{During, Failure, Outcome},
};

/// How long a server may take to take the connection, and to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// The largest answer that is read: the log of a program may be long.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Sends a request and returns the JSON of the answer; `Null` for one without a body.
pub(crate) fn request(method: &str, server: &ServerAccess, path: &str) -> Outcome<Value> {
    let ServerAccess { url: server, key } = server;
    let key = key.as_deref().filter(|key| !key.is_empty());
    if let Some(key) = key {
        key_check(key)?;
    }
    let url = format!("{server}{path}");
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_PATIENCE))
        .timeout_global(Some(ANSWER_PATIENCE))
        .build()
        .new_agent();
    let mut request = match method {
        "DELETE" => agent.delete(&url),
        _ => agent.get(&url),
    };
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let sent = request.call();
    let mut answer = sent
        .during(&format!("reach the server at {server}"))
        .map_err(|failure| failure.hint("is it running? start one with `atoll serve`, or say --server"))?;
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
    let text = text.during(&format!("read the answer of {server}"))?;
    let body: Option<Value> =
        if text.is_empty() { Some(Value::Null) } else { serde_json::from_str(&text).ok() };
    match body {
        Some(body) if status.is_success() => Ok(body),
        Some(body) if said(&body).is_some() => {
            Err(refused(status, said(&body).unwrap_or_default(), key.is_some()))
        }
        _ => Err(Failure::new(format!("what answers at {server} is no Atoll server: it said {status}"))
            .hint("say --server, or set ATOLL_SERVER, where yours listens elsewhere")),
    }
}

/// What an error says, in the words of the interface that it comes from.
fn said(body: &Value) -> Option<&str> {
    body.get("error").or_else(|| body.get("message")).and_then(Value::as_str)
}

/// Whether it can be a key. It is not told: others may read what is written here.
fn key_check(key: &str) -> Outcome<()> {
    if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err(Failure::new("the key has characters that no key has: letters, digits and _ are all there are")
        .hint("look at --key, or ATOLL_KEY: a line break, a blank or quotes may have come along"))
}

fn refused(status: StatusCode, said: &str, key_given: bool) -> Failure {
    let failure = Failure::new(format!("{said} (the server answered {status})"));
    match status {
        StatusCode::UNAUTHORIZED if !key_given => {
            failure.hint("set ATOLL_KEY, or say --key; root makes one with `atoll keys create`")
        }
        StatusCode::NOT_FOUND if said.starts_with("Volume") => {
            failure.hint("`atoll volume list` shows what there is")
        }
        StatusCode::NOT_FOUND => {
            failure.hint("`atoll ps` lists what there is; an ended sandbox goes when its lease is over")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_without_the_key() {
        assert!(key_check("ws_0123456789abcdef").is_ok());
        for key in ["ws_secret\n", "ws_sec ret", "\"ws_secret\"", "ws_secret\u{e9}", "ws_secret\0"] {
            let text = key_check(key).unwrap_err().to_string();
            assert!(text.contains("ATOLL_KEY") && !text.contains("sec"), "{key:?}: {text}");
        }
    }
}
