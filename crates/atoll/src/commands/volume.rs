//! `atoll volume`: the volumes that a server keeps, as a table, and the end of some.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    cli::{ServerOptions, VolumeCommand, VolumeRmOptions},
    failure::Outcome,
    server_client::request,
    terminal::{print, say},
};

pub(crate) fn volume(command: VolumeCommand) -> Outcome<ExitCode> {
    match command {
        VolumeCommand::List(options) => list(&options),
        VolumeCommand::Rm(options) => rm(&options),
    }
}

fn list(options: &ServerOptions) -> Outcome<ExitCode> {
    let answer = request("GET", &options.server, "/v1/volumes")?;
    let volumes = answer.get("items").cloned().unwrap_or_default();
    if options.output.json {
        print(&format!("{volumes}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = volumes.as_array().map(Vec::as_slice).unwrap_or_default();
    let head = format!("{:36}  {:10}  {:24}  {:>10}  NAME\n", "ID", "OWNER", "CREATED", "SIZE");
    let lines = rows.iter().map(|row| {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or("-");
        let size = row.get("bytes").and_then(Value::as_u64).unwrap_or_default() >> 20;
        format!(
            "{:36}  {:10}  {:24}  {size:>7} MB  {}\n",
            text("id"),
            text("owner"),
            text("createdAt"),
            text("name"),
        )
    });
    print(&[head].into_iter().chain(lines).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// Goes on after one that fails, and fails itself then.
fn rm(options: &VolumeRmOptions) -> Outcome<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut removed = Vec::new();
    for volume in &options.volumes {
        match request("DELETE", &options.server.server, &format!("/v1/volumes/{volume}")) {
            Ok(_) => removed.push(volume.as_str()),
            Err(failure) => {
                say(failure);
                code = ExitCode::FAILURE;
            }
        }
    }
    if options.server.output.json {
        print(&format!("{}\n", serde_json::json!({ "removed": removed })))?;
    } else {
        print(&removed.iter().map(|volume| format!("{volume}\n")).collect::<String>())?;
    }
    Ok(code)
}
