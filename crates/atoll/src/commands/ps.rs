//! `atoll ps`: the sandboxes of a server, as a table.

use std::process::ExitCode;

use serde_json::Value;

use crate::{cli::ServerOptions, failure::Outcome, server_client::request, terminal::print};

pub(crate) fn ps(options: &ServerOptions) -> Outcome<ExitCode> {
    let sandboxes = request("GET", &options.server, "/sandboxes")?;
    if options.output.json {
        print(&format!("{sandboxes}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = sandboxes.as_array().map(Vec::as_slice).unwrap_or_default();
    let head = format!("{:36}  {:10}  {:9}  {:30}  MEMORY\n", "ID", "RUNTIME", "STATUS", "CREATED");
    let lines = rows.iter().map(|row| {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("-");
        let memory = row.get("memory_limit_mb").and_then(Value::as_u64).unwrap_or_default();
        format!(
            "{:36}  {:10}  {:9}  {:30}  {memory} MB\n",
            text("id"),
            text("runtime"),
            text("status"),
            text("created_at"),
        )
    });
    print(&[head].into_iter().chain(lines).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}
