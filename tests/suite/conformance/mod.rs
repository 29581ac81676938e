//! The vendors' own clients, unmodified, and their own documents, at the versions that `tests/conformance/` pins. Each
//! group of tests has a server of its own. `cargo xtask test` installs the clients.

mod clients;
mod documents;
mod executor;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use blackbox::{Key, Server};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/opensandbox");

/// The installed clients, `$ATOLL_CLIENTS` or where `cargo xtask test` puts them.
fn clients() -> PathBuf {
    env::var_os("ATOLL_CLIENTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients"), PathBuf::from)
}

/// Runs it with the server's address and a key; what it wrote.
fn run(server: &Server, key: &Key, command: &mut Command) -> String {
    command.env("ATOLL_DOMAIN", server.address().to_string()).env("ATOLL_KEY", &key.text);
    let ran = command.output().expect("the clients are installed");
    let written = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{written}");
    written.into_owned()
}
