//! The program that lives inside a sandbox as its first process: it starts processes there, moves files and
//! dials ports for the server.
//!
//! This file reads the words of the command line and nothing else; [`boot`] does the rest. The agent must
//! not know the engine or anything of the host; of dialects it knows those that are served inside ([`execd`],
//! [`mod@executor`]).

mod agent;
mod boot;
mod connection;
mod exec;
mod execd;
mod executor;
mod failure;
mod files;
mod http;
mod moment;
mod port;
mod processes;
mod signals;
mod surroundings;
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
  atoll-agent executor     serve the executor API over HTTP, as SANDBOX_SECRET=… atoll-agent does; see
                           atoll-agent executor --help
  atoll-agent --help       print this text
  atoll-agent --version    print the version

Environment:
  ATOLL_AGENT_TOKEN        the token, where no argument says it: arguments can be read by other programs
";

const EXECUTOR_HELP: &str = "\
atoll-agent executor: runs commands, moves files and shows one port, for whoever has the secret

It serves the sandbox executor API over HTTP. Start it in any container, as any user; it needs nothing but a shell:

  SANDBOX_SECRET=s3cret atoll-agent executor
  curl -H 'Authorization: Bearer s3cret' http://127.0.0.1:3030/run -d '{\"cmd\": \"echo hello\"}'

Whoever has the secret can do all that this user can. Every request must have it, but for GET /health.

Environment:
  SANDBOX_SECRET  the secret, which must be there; commands do not get to see it
  PORT            where the API is served on all addresses (3030); 0 leaves the choice to the kernel
  PROXY_PORT      where connections are passed on to the port that POST /bind_port names (3031); 0 as above
";

fn main() -> ExitCode {
    let words: Option<Vec<String>> = env::args_os().skip(1).map(|word| word.into_string().ok()).collect();
    let words = words.unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let served = match words[..] {
        ["pid1"] => boot::serve(boot::Socket::Inherited),
        ["--unix", path] => boot::serve(boot::Socket::Path(path.into())),
        ["--listen", address] => listen(address, env::var(surroundings::TOKEN_VARIABLE).ok()),
        ["--listen", address, "--token", token] | ["--token", token, "--listen", address] => {
            listen(address, Some(token.to_owned()))
        }
        ["executor"] => executor(),
        [] if env::var_os(surroundings::SECRET_VARIABLE).is_some() => executor(),
        ["executor", "--help"] => {
            print!("{EXECUTOR_HELP}");
            return ExitCode::SUCCESS;
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

fn executor() -> Result<(), boot::BootError> {
    let secret = env::var(surroundings::SECRET_VARIABLE).unwrap_or_default();
    let door = http::Token::new(secret).map(http::Door::Token).ok_or(boot::BootError::SecretMissing)?;
    let port = port_of("PORT", executor::PORT_DEFAULT)?;
    let proxy_port = port_of(executor::PROXY_PORT_VARIABLE, executor::PROXY_PORT_DEFAULT)?;
    boot::serve(boot::Socket::Executor { door, port, proxy_port })
}

/// The port that a variable says. An empty one says nothing.
fn port_of(variable: &'static str, default: u16) -> Result<u16, boot::BootError> {
    match env::var(variable) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| boot::BootError::Port { variable, text }),
        _ => Ok(default),
    }
}

fn usage_refuse() -> ExitCode {
    eprint!("{HELP}");
    ExitCode::from(2)
}
