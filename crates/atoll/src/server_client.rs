//! Requests to a running server, for the commands that list and change its sandboxes.

use serde_json::Value;

use crate::failure::{During, Failure, Outcome};

/// Sends a request and returns the JSON of the answer; `Null` for one without a body.
pub(crate) fn request(method: &str, server: &str, path: &str) -> Outcome<Value> {
    let url = format!("{}{path}", server.trim_end_matches('/'));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let sent = match method {
        "DELETE" => agent.delete(&url).call(),
        _ => agent.get(&url).call(),
    };
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
    Err(Failure::new(format!("the server answered {status}: {said}")))
}
