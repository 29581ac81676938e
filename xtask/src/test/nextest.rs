//! The test runner: that it is there, that it would skip nothing, and its run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::command::{CommandError, cargo, command_output, command_run};
use crate::workspace::Workspace;

/// The version installed where there is none; the oldest accepted one stands in `.config/nextest.toml`.
const VERSION: &str = "0.9.143";

/// One run of the tests.
pub(super) struct Run<'a> {
    /// The workspace whose tests run.
    pub(super) workspace: &'a Workspace,
    /// The server that black-box tests start, told to them as `ATOLL_BIN`.
    pub(super) binary: &'a Path,
    /// A part of the names of the tests to run; all of them without it.
    pub(super) filter: Option<&'a str>,
}

/// Why it is not certain that all tests would run.
#[derive(Debug, thiserror::Error)]
pub(super) enum SkippedError {
    /// The tests do not build, or the runner cannot list them.
    #[error("cannot list the tests")]
    List(#[from] CommandError),
    /// The runner's list has another shape than documented.
    #[error("cannot read the list of `cargo nextest list`")]
    Answer(#[from] serde_json::Error),
    /// Some would be skipped.
    #[error("a skipped test is a failure, make these run or delete them:\n  {}", .tests.join("\n  "))]
    Skipped {
        /// Their binaries and names.
        tests: Vec<String>,
    },
}

/// Installs cargo-nextest when this machine has none.
pub(super) fn install(workspace: &Workspace) -> Result<(), CommandError> {
    let present = cargo(workspace)
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if present {
        return Ok(());
    }
    // Without the self-update there is no TLS library to compile.
    command_run(cargo(workspace).args([
        "install",
        "cargo-nextest",
        "--locked",
        "--version",
        VERSION,
        "--no-default-features",
        "--features",
        "default-no-update",
    ]))
}

impl Run<'_> {
    /// Builds the tests and fails when the runner would leave one of them out.
    pub(super) fn skipped_check(&self) -> Result<(), SkippedError> {
        let list = command_output(self.nextest("list").args(["--message-format", "json"]))?;
        let tests = skipped_tests(&serde_json::from_slice(&list)?, self.filter.is_some());
        if tests.is_empty() { Ok(()) } else { Err(SkippedError::Skipped { tests }) }
    }

    /// Runs the tests; the runner's summary is the end of the output.
    pub(super) fn start(&self) -> Result<(), CommandError> {
        command_run(&mut self.nextest("run"))
    }

    fn nextest(&self, verb: &str) -> Command {
        let mut command = cargo(self.workspace);
        command.args(["nextest", verb, "--workspace"]).env("ATOLL_BIN", self.binary);
        if let Some(filter) = self.filter {
            command.arg(filter);
        }
        command
    }
}

/// The answer of `cargo nextest list --message-format json`, as far as it is needed.
#[derive(Deserialize)]
struct List {
    #[serde(rename = "rust-suites")]
    suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    /// `listed`, or why the whole binary is left out.
    status: String,
    testcases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    ignored: bool,
    #[serde(rename = "filter-match")]
    filter_match: FilterMatch,
}

#[derive(Deserialize)]
struct FilterMatch {
    status: String,
}

/// The tests that would not run. With a filter it is the caller's wish that some do not, so that only those
/// marked as ignored count.
fn skipped_tests(list: &List, filtered: bool) -> Vec<String> {
    let mut skipped = Vec::new();
    for (binary, suite) in &list.suites {
        if suite.status != "listed" && !filtered {
            skipped.push(format!("{binary} (all)"));
        }
        for (name, case) in &suite.testcases {
            if case.ignored || (case.filter_match.status != "matches" && !filtered) {
                skipped.push(format!("{binary} {name}"));
            }
        }
    }
    skipped
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"test-count": 3, "rust-suites": {
        "jail": {"package-name": "jail", "status": "listed", "testcases": {
            "plan::runs": {"kind": "test", "ignored": false, "filter-match": {"status": "matches"}},
            "plan::waits": {"kind": "test", "ignored": true,
                            "filter-match": {"status": "mismatch", "reason": "ignored"}},
            "plan::filtered": {"kind": "test", "ignored": false,
                               "filter-match": {"status": "mismatch", "reason": "string"}}}},
        "blackbox::old": {"package-name": "blackbox", "status": "skipped-default-filter", "testcases": {}}}}"#;

    #[test]
    fn whatever_would_not_run_is_named() {
        let list = serde_json::from_str(LIST).unwrap();
        let expected = ["blackbox::old (all)", "jail plan::filtered", "jail plan::waits"];
        assert_eq!(skipped_tests(&list, false), expected);
    }

    #[test]
    fn a_filter_excuses_what_it_leaves_out_but_not_what_is_ignored() {
        let list = serde_json::from_str(LIST).unwrap();
        assert_eq!(skipped_tests(&list, true), ["jail plan::waits"]);
    }
}
