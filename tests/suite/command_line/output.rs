//! Output that can't be written: a full disk is an error, a reader that has gone a quiet end. Never a panic.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use blackbox::{Server, atoll};
use serde_json::json;

use super::texts;

/// Every command that answers, against a server with one sandbox.
fn answering(server: &Server) -> Vec<Vec<String>> {
    let id = server.create(&json!({"runtime": "bash", "code": "seq 1000"}));
    let _ = server.run(&id);
    let commands = [
        "--help",
        "--version",
        "run --help",
        "help serve",
        "doctor",
        "doctor --json",
        "toolchain list",
        "toolchain list --json",
        "keys list --data-dir DATA",
        "keys list --json --data-dir DATA",
        "ps --server BASE",
        "ps --json --server BASE",
        "logs ID --server BASE",
        "logs ID --json --server BASE",
        "run -- seq 100000",
        // Last: nothing is left to remove for a second one.
        "rm ID --server BASE",
    ];
    let data = server.data().display().to_string();
    let filled = commands
        .map(|command| command.replace("BASE", server.base()).replace("DATA", &data).replace("ID", &id));
    filled.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect()
}

fn no_panic(command: &[String], output: &Output) -> String {
    let (_, stderr) = texts(output);
    assert!(output.status.code().is_some(), "{command:?} was ended by a signal: {stderr}");
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    stderr
}

#[test]
fn a_full_disk_is_an_error() {
    let server = Server::start();
    for command in answering(&server) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut atoll = Command::new(atoll());
        let output = atoll.args(&command).stdin(Stdio::null()).stdout(full).output().unwrap();
        let stderr = no_panic(&command, &output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {stderr}");
        assert!(stderr.contains("No space left"), "{command:?}: {stderr}");
    }
}

#[test]
fn a_reader_that_has_gone_is_a_quiet_end() {
    let server = Server::start();
    for command in answering(&server) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut atoll = Command::new(atoll());
        let output = atoll.args(&command).stdin(Stdio::null()).stdout(writer).output().unwrap();
        let stderr = no_panic(&command, &output);
        assert_eq!((output.status.code(), stderr.as_str()), (Some(141), ""), "{command:?}");
    }
}

#[test]
fn an_error_that_nobody_can_read_is_no_panic() {
    for command in
        ["ps --server 127.0.0.1:9", "run --runtime python /no/such/file", "run -- no-such-program", "rm x"]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut atoll = Command::new(atoll());
        let output = atoll.args(command.split(' ')).stdin(Stdio::null()).stderr(full).output().unwrap();
        assert!(matches!(output.status.code(), Some(1 | 2 | 127)), "{command}: {output:?}");
    }
}
