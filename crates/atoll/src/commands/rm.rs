//! `atoll rm`: ends sandboxes. Goes on after one that fails, and fails itself then.

use std::process::ExitCode;

use crate::{
    cli::RmOptions,
    failure::Outcome,
    server_client::request,
    terminal::{print, say},
};

pub(crate) fn rm(options: &RmOptions) -> Outcome<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut removed = Vec::new();
    for id in &options.ids {
        match request("DELETE", &options.server.server, &format!("/sandbox/{id}")) {
            Ok(_) => removed.push(id.to_string()),
            Err(failure) => {
                say(failure);
                code = ExitCode::FAILURE;
            }
        }
    }
    if options.server.output.json {
        print(&format!("{}\n", serde_json::json!({ "removed": removed })))?;
    } else {
        print(&removed.iter().map(|id| format!("{id}\n")).collect::<String>())?;
    }
    Ok(code)
}
