//! What agent and drivers say to each other.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::language::Language;
use crate::execd::types::ExecutionError;

/// What a driver says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    /// A Jupyter kernel is up.
    Ready,
    /// There is no such kernel.
    Refused { message: String },
    /// The template has forked; the number is 0 where it could not.
    Forked { pid: i32 },
    /// The code has begun: from now on it can be interrupted.
    Begun,
    /// A value to show. The driver waits for an answer.
    Display { data: Map<String, Value> },
    /// Output that did not come by a pipe.
    Written { stream: String, text: String },
    /// The code has ended.
    Done(Done),
    /// No signal from before is on its way to the driver any more.
    Settled,
}

/// How code has ended.
#[derive(Deserialize)]
pub(super) struct Done {
    /// The number of the run, where the driver tells it.
    pub(super) run: Option<u64>,
    /// The exit code, of a shell.
    pub(super) status: Option<i32>,
    /// The value of the last expression.
    pub(super) data: Option<Map<String, Value>>,
    pub(super) error: Option<ExecutionError>,
}

/// Answers [`Message::Display`].
pub(super) const SHOWN: &[u8] = b"{\"type\":\"shown\"}\n";

impl Message {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Request<'a> {
    Run { code: &'a str, language: &'a str },
    Fork { mark: u64, variable: String },
    Interrupt { run: u64 },
}

/// Has the template fork a process that puts these marks on itself.
pub(super) fn fork_request((mark, variable): (u64, String)) -> Vec<u8> {
    line(&Request::Fork { mark, variable })
}

/// Has code run.
pub(super) fn run_request(language: &Language, run: u64, code: &str) -> Vec<u8> {
    match language {
        Language::Bash => bash_request(run, code),
        _ => line(&Request::Run { code, language: language.name() }),
    }
}

/// Ends a run that waits for something, where a signal ends only what computes.
pub(super) fn interrupt_request(run: u64) -> Vec<u8> {
    line(&Request::Interrupt { run })
}

/// Asks a driver in JavaScript to say when no signal that was sent can have an effect any more.
pub(super) const SETTLE: &[u8] = b"{\"type\":\"settle\"}\n";

/// Has a shell say that a run has ended, should it have been interrupted before it could.
pub(super) fn bash_end_request(run: u64) -> Vec<u8> {
    format!("__atoll_done {run} 130\n").into_bytes()
}

/// The code is read whole before any of it runs. It runs as a file does that is sourced: with `eval`, an interactive shell
/// would complain of the terminal that there is not. All that runs of it gets an empty input and no descriptor of the
/// agent's.
fn bash_request(run: u64, code: &str) -> Vec<u8> {
    // A shell has no text with this character.
    let quoted = code.replace('\0', "").replace('\'', r"'\''");
    format!(
        "__atoll_status=$? __atoll_code='exec </dev/null; __atoll_again; {quoted}'\n\
         __atoll_begun; builtin . /dev/stdin <<<\"$__atoll_code\" 2>&9 9>&-\n\
         __atoll_done {run} $?\n"
    )
    .into_bytes()
}

fn line(request: &Request<'_>) -> Vec<u8> {
    // It fails for types that JSON lacks, and none is here.
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    line
}
