//! The program that lives inside a sandbox as its first process: it starts processes there, moves files and
//! dials ports for the server.
//!
//! This file reads the words of the command line and nothing else; [`boot`] does the rest. The agent must
//! not know HTTP, dialects, the engine or anything of the host.

mod agent;
mod boot;
mod connection;
mod exec;
mod failure;
mod files;
mod port;
mod signals;
mod sys;
mod tree;
mod wire;

use std::{env, process::ExitCode};

const HELP: &str = "\
atoll-agent: starts processes, moves files and dials ports inside a sandbox

Usage:
  atoll-agent pid1         serve on the listening Unix socket inherited as file descriptor 3
  atoll-agent --unix PATH  make a Unix socket at PATH and serve on it
  atoll-agent --help       print this text
  atoll-agent --version    print the version
";

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let first = words.next();
    let second = words.next();
    if words.next().is_some() {
        return usage_refuse();
    }
    let served = match (first.as_deref().and_then(|word| word.to_str()), second) {
        (Some("pid1"), None) => boot::serve(boot::Socket::Inherited),
        (Some("--unix"), Some(path)) => boot::serve(boot::Socket::Path(path.into())),
        (Some("--help"), None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        (Some("--version"), None) => {
            println!("atoll-agent {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => return usage_refuse(),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atoll-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage_refuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
