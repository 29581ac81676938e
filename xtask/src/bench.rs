//! Builds the server and the comparative benchmark in release, and runs it. What is measured is in `benches/`.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::command::{cargo, command_run};
use crate::workspace::Workspace;
use crate::{release, setup};

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds; all contestants run in each.
    #[arg(long, value_name = "NUMBER")]
    rounds: Option<usize>,
}

/// Builds and runs the benchmark, with this terminal as its output.
pub(crate) fn bench(workspace: &Workspace, args: &BenchArgs) -> Result<(), Box<dyn Error>> {
    let server = release::build(workspace)?;
    let clients = setup::clients_install(workspace)?;
    command_run(cargo(workspace).args(["build", "--release", "--package", "bench"]))?;
    let mut command = Command::new(workspace.target_dir.join("release/bench"));
    command.arg("--binary").arg(server).arg("--python").arg(clients.join("python/bin/python"));
    if let Some(file) = &args.json {
        command.arg("--json").arg(file);
    }
    if let Some(rounds) = args.rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    Ok(command_run(&mut command)?)
}
