//! The program that lives inside a sandbox as its first process: it starts processes there, moves files and
//! dials ports for the server.
//!
//! This file reads the words of the command line and nothing else; [`boot`] does the rest. The agent must
//! not know the engine or anything of the host; of dialects it knows the one part that is served inside ([`execd`]).

mod agent;
mod boot;
mod connection;
mod exec;
mod execd;
mod failure;
mod files;
mod http;
mod port;
mod processes;
mod signals;
mod sys;
mod tree;
mod wire;
mod workspace;

use std::{env, process::ExitCode};

const HELP: &str = "\
atoll-agent: starts processes, moves files and dials ports inside a sandbox

Usage:
  atoll-agent pid1         serve on the listening Unix socket inherited as file descriptor 3
  atoll-agent --unix PATH  make a Unix socket at PATH and serve on it
  atoll-agent --listen ADDRESS:PORT [--token TOKEN]
                           serve the execd API over HTTP; every request must have the header
                           X-EXECD-ACCESS-TOKEN with this token
  atoll-agent --help       print this text
  atoll-agent --version    print the version

Environment:
  ATOLL_AGENT_TOKEN        the token, where no argument says it: arguments can be read by other programs
";

fn main() -> ExitCode {
    let words: Option<Vec<String>> = env::args_os().skip(1).map(|word| word.into_string().ok()).collect();
    let words = words.unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let served = match words[..] {
        ["pid1"] => boot::serve(boot::Socket::Inherited),
        ["--unix", path] => boot::serve(boot::Socket::Path(path.into())),
        ["--listen", address] => listen(address, env::var(execd::TOKEN_VARIABLE).ok()),
        ["--listen", address, "--token", token] | ["--token", token, "--listen", address] => {
            listen(address, Some(token.to_owned()))
        }
        ["--help"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        ["--version"] => {
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

fn listen(address: &str, token: Option<String>) -> Result<(), boot::BootError> {
    let address = address.parse().map_err(|_| boot::BootError::Address(address.to_owned()))?;
    let door = match token.map(http::Token::new) {
        Some(Some(token)) => http::Door::Token(token),
        Some(None) => return Err(boot::BootError::TokenEmpty),
        None => http::Door::Loopback,
    };
    boot::serve(boot::Socket::Tcp(address, door))
}

fn usage_refuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
