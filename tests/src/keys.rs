//! Keys, as the operator makes them: with the command line, beside a server or without one.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::server::atoll;

/// A key that was made.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its number.
    pub id: u64,
    /// The key itself.
    pub text: String,
}

impl Key {
    /// Makes one in a data directory, with these options on top.
    pub(crate) fn create(data: &Path, options: &[&str]) -> Self {
        let output = keys_command(data, "create").arg("--json").args(options).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        Self { id: made["id"].as_u64().unwrap(), text: made["key"].as_str().unwrap().to_owned() }
    }
}

/// `atoll keys …` on a data directory.
#[must_use]
pub fn keys_command(data: &Path, command: &str) -> Command {
    let mut keys = Command::new(atoll());
    keys.args(["keys", command, "--data-dir"]).arg(data);
    keys
}
