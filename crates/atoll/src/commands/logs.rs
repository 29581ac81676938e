//! `atoll logs`: what a sandbox's program wrote, each stream to the same stream here.

use std::process::ExitCode;

use serde_json::Value;

use crate::{cli::LogsOptions, failure::Outcome, server_client::request};

pub(crate) fn logs(options: &LogsOptions) -> Outcome<ExitCode> {
    let path = format!("/admin/api/sandboxes/{}/logs?lines={}", options.id, options.lines);
    let lines = request("GET", &options.server.server, &path)?;
    if options.server.output.json {
        println!("{lines}");
        return Ok(ExitCode::SUCCESS);
    }
    for line in lines.as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("level") == "ERROR" {
            eprintln!("{}", text("message"));
        } else {
            println!("{}", text("message"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
