//! The `atoll` program: command line, configuration, and wiring of the crates into a server.
//!
//! What a sandbox is, how it is isolated and what HTTP looks like is in the other crates; this one only
//! brings them together and talks to the person at the terminal.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "they panic where `terminal` has an error")]

mod aliases;
mod allowed;
mod cli;
mod commands;
mod config;
mod embedded;
mod failure;
mod host;
mod server_client;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(answer) => cli::answer(&answer),
    };
    done.unwrap_or_else(|failure| failure.tell())
}
