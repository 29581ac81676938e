//! Requests to a running server, for the commands that list and change its sandboxes.

use serde_json::Value;

use crate::{
    cli::ServerAccess,
    failure::{During, Failure, Outcome},
};

/// Sends a request and returns the JSON of the answer; `Null` for one without a body.
pub(crate) fn request(method: &str, server: &ServerAccess, path: &str) -> Outcome<Value> {
    let ServerAccess { url: server, key } = server;
    let url = format!("{}{path}", server.trim_end_matches('/'));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
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
    let text = answer.body_mut().read_to_string().during("read the server's answer")?;
    let body: Value =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or_default() };
    if status.is_success() {
        return Ok(body);
    }
    let said = body.get("error").and_then(Value::as_str).unwrap_or(&text);
    let failure = Failure::new(format!("the server answered {status}: {said}"));
    Err(match (status.as_u16(), key) {
        (401, None) => failure.hint("set ATOLL_KEY, or say --key; root makes one with `atoll keys create`"),
        _ => failure,
    })
}
