//! `atoll rm`: ends sandboxes.

use std::{fmt::Display, process::ExitCode};

use crate::{
    cli::{RmOptions, ServerOptions},
    failure::Outcome,
    server_client::request,
    terminal::{print, say},
};

pub(crate) fn rm(options: &RmOptions) -> Outcome<ExitCode> {
    each_remove(&options.server, "/sandbox", &options.ids)
}

/// Asks the server to remove each of these below `path`. Goes on after one that fails, and fails itself then.
pub(super) fn each_remove(server: &ServerOptions, path: &str, names: &[impl Display]) -> Outcome<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut removed = Vec::new();
    for name in names {
        match request("DELETE", &server.server, &format!("{path}/{name}")) {
            Ok(_) => removed.push(name.to_string()),
            Err(failure) => {
                say(failure);
                code = ExitCode::FAILURE;
            }
        }
    }
    if server.output.json {
        print(&format!("{}\n", serde_json::json!({ "removed": removed })))?;
    } else {
        print(&removed.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    }
    Ok(code)
}
