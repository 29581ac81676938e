//! Builds the server and the comparative benchmark in release, and runs it. What is measured is in `benches/`.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::command::{CommandError, cargo, command_run};
use crate::release;
use crate::workspace::Workspace;

/// Options of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds; all contestants run in each.
    #[arg(long, value_name = "NUMBER")]
    rounds: Option<usize>,
    /// A Python with `opensandbox`, `jupyter_client` and `ipykernel`: what needs them is measured too.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

/// Builds and runs the benchmark, with this terminal as its output.
pub(crate) fn bench(workspace: &Workspace, args: &BenchArgs) -> Result<(), CommandError> {
    let server = release::build(workspace)?;
    command_run(cargo(workspace).args(["build", "--release", "--package", "bench"]))?;
    let mut command = Command::new(workspace.target_dir.join("release/bench"));
    command.arg("--binary").arg(server);
    if let Some(file) = &args.json {
        command.arg("--json").arg(file);
    }
    if let Some(rounds) = args.rounds {
        command.arg("--rounds").arg(rounds.to_string());
    }
    if let Some(python) = &args.python {
        command.arg("--python").arg(python);
    }
    command_run(&mut command)
}
