//! The `atoll` program: command line, configuration, and wiring of the crates into a server.
//!
//! What a sandbox is, how it is isolated and what HTTP looks like is in the other crates; this one only
//! brings them together and talks to the person at the terminal.

mod aliases;
mod cli;
mod commands;
mod config;
mod embedded;
mod failure;
mod host;
mod server_client;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
