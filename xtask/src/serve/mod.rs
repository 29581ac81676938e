//! Starts the built server, shows that it works with one program per runtime, and stays until it ends.

mod http;
mod programs;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;

use crate::command::CommandError;
use http::HttpError;
use server::Server;

/// How long the server may take until it answers. A first start may have to format its storage.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Options of `cargo xtask serve`.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The loopback address and port to listen on.
    ///
    /// Any other address needs keys: run `target/release/atoll serve --help` for that.
    #[arg(long, env = "ATOLL_LISTEN", default_value = "127.0.0.1:8080", value_parser = loopback_parse)]
    listen: SocketAddr,
}

/// Why the server did not start, did not work or did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Somebody else listens there.
    #[error("cannot listen on {listen}; end the server that does, or choose another with --listen")]
    Address {
        /// The address wanted.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server did not start.
    #[error("cannot start the server")]
    Start(#[from] CommandError),
    /// A step of supervising it failed.
    #[error("cannot {step}")]
    Supervise {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("the server ended ({status}); its output above says why")]
    Ended {
        /// How it ended.
        status: ExitStatus,
    },
    /// It runs but does not answer.
    #[error("the server does not answer GET http://{listen}/health after {} s", START_LIMIT.as_secs())]
    Silent {
        /// Where it should listen.
        listen: SocketAddr,
        /// The last answer or failure.
        #[source]
        source: HttpError,
    },
    /// A program could not be sent to it.
    #[error("cannot run the {runtime} program")]
    Request {
        /// Its runtime.
        runtime: &'static str,
        /// What came back instead.
        #[source]
        source: HttpError,
    },
    /// Programs ran and failed, or printed something else than they should.
    #[error("these programs did not run as they should: {}; see the table above", .runtimes.join(", "))]
    Programs {
        /// Their runtimes.
        runtimes: Vec<&'static str>,
    },
}

/// Starts `binary`, runs the programs and returns when the server has ended.
///
/// SIGINT, SIGTERM and SIGHUP go on to the server. It never outlives this function.
pub(crate) fn serve(binary: &Path, args: ServeArgs) -> Result<(), ServeError> {
    let listen = args.listen;
    // Without this, another server's answers would pass for those of ours while ours fails to bind.
    drop(TcpListener::bind(listen).map_err(|source| ServeError::Address { listen, source })?);
    let mut server = Server::start(binary, listen)?;
    let outcome = server.healthy_wait(START_LIMIT).and_then(|()| programs::programs_run(listen));
    if server.signalled() {
        // What failed after Ctrl-C failed because of it.
        return server.end_wait();
    }
    outcome?;
    println!(
        "\nAtoll listens on http://{listen}. Try:\n\n  {}\n\nCtrl-C ends it.",
        programs::curl_example(listen)
    );
    server.end_wait()
}

fn loopback_parse(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("`{text}` is no address like 127.0.0.1:8080"))?;
    if !address.ip().is_loopback() || address.port() == 0 {
        return Err(format!("{address} is not a port on a loopback address"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_with_a_port_are_taken() {
        assert!(loopback_parse("127.0.0.1:8080").is_ok());
        assert!(loopback_parse("[::1]:3000").is_ok());
        for bad in ["0.0.0.0:8080", "127.0.0.1:0", "localhost", "10.0.0.1:80"] {
            assert!(loopback_parse(bad).is_err(), "{bad}");
        }
    }
}
