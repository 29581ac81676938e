//! `atoll volume`: the volumes that a server keeps, as a table, and the end of some.

use std::process::ExitCode;

use serde_json::Value;

use super::rm::each_remove;
use crate::{
    cli::{ServerOptions, VolumeCommand, VolumeRmOptions},
    failure::Outcome,
    server_client::request,
    terminal::print,
};

pub(crate) fn volume(command: VolumeCommand) -> Outcome<ExitCode> {
    match command {
        VolumeCommand::List(options) => list(&options),
        VolumeCommand::Rm(VolumeRmOptions { server, volumes }) => {
            each_remove(&server, "/v1/volumes", &volumes)
        }
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
