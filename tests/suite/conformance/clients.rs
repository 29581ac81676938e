//! The published clients.

use std::{fs, path::Path, process::Command};

use blackbox::Server;

use super::{TESTS, clients, run};

/// Runs these files of tests in Python; how many passed. None may be left out.
fn pytest(files: &[&str]) -> usize {
    let server = Server::start();
    let mut python = python();
    python.args(files).current_dir(Path::new(TESTS).join("python"));
    passed(&run(&server, &server.key_create(&[]), &mut python))
}

/// Runs tests in Python.
pub(super) fn python() -> Command {
    let mut python = Command::new(clients().join("python/bin/python"));
    python.args(["-m", "pytest", "--quiet"]).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// How many passed; none may be left out.
pub(super) fn passed(written: &str) -> usize {
    let summary = written.lines().rev().find(|line| line.contains(" passed")).expect("a summary");
    for word in ["skipped", "xfailed", "xpassed", "deselected"] {
        assert!(!summary.contains(word), "{written}");
    }
    let count = summary.split_whitespace().next().and_then(|word| word.parse().ok());
    count.unwrap_or_else(|| panic!("no number: {summary}"))
}

#[test]
fn the_python_client() {
    assert_eq!(
        pytest(&["test_lifecycle.py", "test_snapshots.py", "test_network.py", "test_endpoints.py"]),
        25
    );
}

#[test]
fn the_python_client_runs_commands_and_keeps_files() {
    assert_eq!(pytest(&["test_commands.py", "test_files.py"]), 30);
}

#[test]
fn the_python_client_reads_streams() {
    assert_eq!(pytest(&["test_streams.py"]), 8);
}

#[test]
fn the_code_interpreter() {
    assert_eq!(pytest(&["test_code.py"]), 18);
}

#[test]
fn the_command_line_client() {
    assert_eq!(pytest(&["test_cli.py"]), 1);
}

#[test]
fn the_sandbox_suite_of_langchain() {
    assert_eq!(pytest(&["test_langchain.py"]), 86);
}

#[test]
fn the_node_client() {
    let server = Server::start();
    // A module is looked for next to the file that imports it.
    let test = clients().join("node/client.test.mjs");
    fs::copy(Path::new(TESTS).join("node/client.test.mjs"), &test).expect("the clients are installed");
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter", "tap"]).arg(&test);
    let written = run(&server, &server.key_create(&[]), &mut node);
    assert!(written.contains("\n# fail 0\n") && written.contains("\n# skipped 0\n"), "{written}");
}
