//! The stream of events about one execution: bare JSON objects with an empty line after each.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::agent::{ExecEnd, ExitStatus};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval_at};

use super::{
    lines::Lines,
    types::{ExecutionError, ServerStreamEvent},
};
use crate::{
    agent::Agent,
    exec::{Exec, OutputStream, Tap, Tapped},
    http::{Outgoing, Pieces, Reply, body_stream, event_stream, separators_escape},
    moment::now_ms,
};

/// How often a client is told that the stream lives.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// What an error is called that is an exit code.
pub(super) const COMMAND_ERROR: &str = "CommandExecError";

/// Appends an event, or any value in its place.
pub(super) fn event_push(out: &mut Vec<u8>, event: &impl Serialize) {
    let begin = out.len();
    // It fails for types that JSON lacks, and for writers that fail; neither is here.
    let _ = serde_json::to_writer(&mut *out, event);
    separators_escape(out, begin);
    out.extend(b"\n\n");
}

/// An event of which only the kind is known.
pub(super) fn event(kind: &'static str) -> ServerStreamEvent<'static> {
    ServerStreamEvent {
        kind,
        text: None,
        execution_count: None,
        execution_time: None,
        results: None,
        error: None,
        timestamp: now_ms(),
    }
}

/// Answers with the events of an exec, from its start to its end.
pub(super) fn exec_stream(agent: &Rc<Agent>, exec: &Rc<Exec>) -> Reply {
    let (pieces, body) = body_stream(None);
    let tap = Tap::new(agent, exec);
    let mut begin = Vec::new();
    event_push(&mut begin, &init(&exec.id.to_string()));
    pieces.begin(begin);
    tokio::task::spawn_local(async move {
        let last = tokio::select! {
            last = events_send(tap, &pieces) => last,
            () = pieces.gone() => None,
        };
        if let Some(last) = last {
            pieces.end(last).await;
        }
    });
    event_stream(body)
}

/// Answers with the two events of an exec that nobody follows here.
pub(super) fn exec_announce(exec: &Exec) -> Reply {
    let mut out = Vec::new();
    event_push(&mut out, &init(&exec.id.to_string()));
    event_push(&mut out, &ServerStreamEvent { execution_time: Some(0), ..event("execution_complete") });
    event_stream(Outgoing::Whole(Some(out.into())))
}

/// The first event.
pub(super) fn init(id: &str) -> ServerStreamEvent<'_> {
    ServerStreamEvent { text: Some(id), ..event("init") }
}

/// Sends events until the exec has ended, and returns the last ones; `None` if they are for nobody.
async fn events_send(mut tap: Tap, pieces: &Pieces) -> Option<Vec<u8>> {
    let begin = Instant::now();
    let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
    let mut keep_alive = interval_at((begin + KEEP_ALIVE).into(), KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut out = Vec::new();
    loop {
        // Nothing is asked of the exec before the client has taken what came before.
        if !out.is_empty() && pieces.send(std::mem::take(&mut out)).await.is_err() {
            return None;
        }
        let next = tokio::select! {
            biased;
            next = tap.next() => next,
            _ = keep_alive.tick() => {
                event_push(&mut out, &ServerStreamEvent { text: Some("pong"), ..event("ping") });
                continue;
            }
        };
        match next {
            Tapped::Output(OutputStream::Stdout, bytes) => {
                stdout.push(&bytes, |line| line_push(&mut out, "stdout", line));
            }
            Tapped::Output(OutputStream::Stderr, bytes) => {
                stderr.push(&bytes, |line| line_push(&mut out, "stderr", line));
            }
            Tapped::Ended(end) => {
                for (kind, lines) in [("stdout", &mut stdout), ("stderr", &mut stderr)] {
                    let rest = lines.rest();
                    if !rest.is_empty() {
                        line_push(&mut out, kind, &rest);
                    }
                }
                end_push(&mut out, &end, begin);
                return Some(out);
            }
            Tapped::Replaced => return None,
        }
    }
}

/// One line without its newline; only an empty one has it, as no event may be without text.
fn line_push(out: &mut Vec<u8>, kind: &'static str, line: &[u8]) {
    let bytes = if line == b"\n" { line } else { line.strip_suffix(b"\n").unwrap_or(line) };
    let text = String::from_utf8_lossy(bytes);
    event_push(out, &ServerStreamEvent { text: Some(&text), ..event(kind) });
}

fn end_push(out: &mut Vec<u8>, end: &ExecEnd, begin: Instant) {
    match error_of(end) {
        None => {
            let time = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            event_push(out, &ServerStreamEvent { execution_time: Some(time), ..event("execution_complete") });
        }
        Some(reason) => {
            let error = ExecutionError {
                ename: COMMAND_ERROR.into(),
                evalue: exit_code(end).to_string(),
                traceback: vec![reason],
            };
            event_push(out, &ServerStreamEvent { error: Some(error), ..event("error") });
        }
    }
}

/// The exit code as clients have it: -1 for what was ended by a signal.
pub(super) fn exit_code(end: &ExecEnd) -> i32 {
    match end.status {
        ExitStatus::Exited(status) if !end.timed_out => status,
        ExitStatus::Exited(_) | ExitStatus::Signaled(_) => -1,
    }
}

/// Why an exec did not succeed; `None` if it did.
pub(super) fn error_of(end: &ExecEnd) -> Option<String> {
    match end.status {
        _ if end.timed_out => Some("killed at its time limit".to_owned()),
        ExitStatus::Exited(0) => None,
        ExitStatus::Exited(status) => Some(format!("exit status {status}")),
        ExitStatus::Signaled(signal) => Some(format!("ended by signal {signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_has_within_it_what_could_end_a_line() {
        let mut out = b"\xC2\x85".to_vec();
        let text = "a\u{85}\u{2028}é…\u{2029}\n\u{1c}";
        event_push(&mut out, &ServerStreamEvent { text: Some(text), ..event("stdout") });
        let line = std::str::from_utf8(&out[2..]).unwrap().strip_suffix("\n\n").unwrap();
        assert!(!line.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n', '\u{1c}']), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["text"], text);
    }
}
