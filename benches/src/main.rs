//! The comparative benchmark: Atoll over HTTP beside bubblewrap and runc, in one run, on this machine.
//!
//! It knows Atoll as a program with an HTTP API, and its agent's protocol for what the API does not offer yet.

mod bubblewrap;
mod execute;
mod executor;
mod failure;
mod http;
mod launches;
mod live_sandbox;
mod machine;
mod opensandbox;
mod report;
mod rounds;
mod runc;
mod samples;
mod server;
mod snapshots;
mod terminals;

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use clap::Parser;

use failure::{During, Outcome};
use machine::Machine;
use report::Report;
use rounds::Effort;
use server::Server;

/// Measure Atoll beside bubblewrap and runc. Needs root. Exits with 0 whatever the numbers are.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    /// The server's binary.
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Toolchains that are installed already.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/atoll/toolchains")]
    toolchains: PathBuf,
    /// Rounds; all contestants run in each.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    rounds: usize,
    /// Runs of each contestant in a round (runc: a fifth).
    #[arg(long, value_name = "NUMBER", default_value_t = 30)]
    runs: usize,
    /// Launches of each kind that are broken down by step.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    launches: usize,
    /// A Python with OpenSandbox's client, jupyter_client and ipykernel: what needs them is measured too.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Also write everything to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match bench(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            let mut cause = failure.source();
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Cli) -> Outcome<()> {
    let mut machine = Machine::read();
    let effort = Effort {
        rounds: options.rounds.max(1),
        runs: options.runs.max(1),
        runs_runc: (options.runs / 5).max(1),
        warm_up: 10,
    };
    let times = {
        let server = Server::start(&options.binary, &options.toolchains, "warn")?;
        rounds::measure(&server, effort)?
    };
    let snapshots = {
        let mut server = Server::start(&options.binary, &options.toolchains, "warn")?;
        let few = Server::start(&options.binary, &options.toolchains, "warn")?;
        let effort = snapshots::Effort { snapshots: options.rounds * 5, forks: options.rounds.div_ceil(2) };
        snapshots::measure(&mut server, &few, effort)?
    };
    let entered = {
        let server = Server::start(&options.binary, &options.toolchains, "warn")?;
        let runs = options.rounds.max(1) * 10;
        (opensandbox::measure(&server, runs, options.python.as_deref())?, executor::measure(&server, runs)?)
    };
    let shown = {
        let server = Server::start(&options.binary, &options.toolchains, "warn")?;
        terminals::measure(&server, options.rounds.max(1) * 20)?
    };
    let inside = {
        // A server of its own: writing the log takes time too.
        let server =
            Server::start(&options.binary, &options.toolchains, "warn,engine=debug,atoll::access=debug")?;
        rounds::break_down(&server, options.launches.max(1))?
    };
    machine.finish();
    let entered = (&entered.0, &entered.1, &shown);
    let report = Report::new(machine, &times, &snapshots, entered, inside);
    print!("{}", report.table());
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&report).during("write the report")?;
        fs::write(file, json).during(&format!("write {}", file.display()))?;
    }
    Ok(())
}
