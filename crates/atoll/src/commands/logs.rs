//! `atoll logs`: what a sandbox's program wrote, each stream to the same stream here.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    cli::LogsOptions,
    failure::Outcome,
    server_client::request,
    terminal::{print, say},
};

pub(crate) fn logs(options: &LogsOptions) -> Outcome<ExitCode> {
    let path = format!("/admin/api/sandboxes/{}/logs?lines={}", options.id, options.lines);
    let lines = request("GET", &options.server.server, &path)?;
    if options.server.output.json {
        print(&format!("{lines}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_error = |line: &Value| line.get("level").and_then(Value::as_str) == Some("ERROR");
    let lines = lines.as_array().map(Vec::as_slice).unwrap_or_default();
    // One write for what follows each other on a stream: both stay in order where they meet.
    for lines in lines.chunk_by(|one, next| is_error(one) == is_error(next)) {
        let texts: Vec<&str> =
            lines.iter().filter_map(|line| line.get("message").and_then(Value::as_str)).collect();
        let text = texts.join("\n");
        if lines.first().is_some_and(is_error) {
            say(text);
        } else {
            print(&format!("{text}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
