//! Programs that try to break out: Python with every system call at hand, and what came of each attempt.

use std::collections::BTreeMap;

use blackbox::{Run, Server};
use serde_json::{Value, json};

/// What the programs import.
const CALLS: &str = include_str!("attack/calls.py");

/// A Python program with the module `calls` beside it.
pub(crate) fn program(code: &str, fields: &Value) -> Value {
    let mut program = json!({
        "runtime": "python", "code": format!("from calls import *\n{code}"),
        "files": [{"path": "calls.py", "content": CALLS}],
    });
    program.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    program
}

/// Runs it; every line of its output is a name, a tab and what came of it: `ok`, or an error's name.
pub(crate) fn attempts(server: &Server, code: &str) -> BTreeMap<String, String> {
    outcomes(&server.execute(&program(code, &json!({}))))
}

/// The outcomes in a run's output.
pub(crate) fn outcomes(run: &Run) -> BTreeMap<String, String> {
    let lines = run.output().lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{line:?}")));
    lines.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

/// All attempts but those called `control…` ended in one of these errors; those ended well. There is at least
/// one of each, so that a broken program proves nothing.
#[track_caller]
pub(crate) fn all_denied(outcomes: &BTreeMap<String, String>, errors: &[&str]) {
    let (controls, attacks): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|(name, _)| name.starts_with("control"));
    assert!(!controls.is_empty() && !attacks.is_empty(), "{outcomes:?}");
    let failed: Vec<_> = controls.iter().filter(|(_, outcome)| !outcome.starts_with("ok")).collect();
    assert!(failed.is_empty(), "what must be possible is not: {failed:?}");
    let done: Vec<_> = attacks.iter().filter(|(_, outcome)| !errors.contains(&outcome.as_str())).collect();
    assert!(done.is_empty(), "these were not denied with {errors:?}: {done:?}");
}
