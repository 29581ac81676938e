//! Workspaces that go out as archives and come in again: [`round_trip`] that nothing is lost, [`turns`] that it disturbs
//! nobody, [`hostile`] and [`bombs`] that bad archives change nothing, [`clients`] what happens when somebody is slow or
//! goes away.

mod bombs;
mod clients;
mod hostile;
mod round_trip;
mod tar;
mod turns;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use blackbox::{Answer, Client};
use serde_json::Value;

use super::{
    keyed, restore, snapshot_names, snapshots, vm_create, vm_output, vm_run,
    workspace::{MAKE, hash, python},
};

/// The archive of a snapshot.
fn export(client: &Client, vm: &str, snapshot: &str) -> Vec<u8> {
    let path = format!("/vms/{vm}/snapshots/{snapshot}/export");
    let answer = client.send_bytes("GET", &path, None).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.body
}

/// Sends an archive.
fn import(client: &Client, vm: &str, archive: &[u8]) -> Answer {
    let body = Some(("application/zstd", archive));
    client.send_bytes("POST", &format!("/vms/{vm}/import"), body).unwrap().into_text()
}

/// Imports an archive that must be good; the row of its snapshot.
fn import_ok(client: &Client, vm: &str, archive: &[u8]) -> Value {
    let answer = import(client, vm, archive);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

/// What a program of the host makes of this input.
fn filtered(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// Compressed as `zstd` does it.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    filtered("zstd", &["-q", "-1", "-c"], bytes)
}
