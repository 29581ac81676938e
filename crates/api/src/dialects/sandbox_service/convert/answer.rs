//! What the engine returns, as this dialect shows it.

use engine::{
    EndReason, LogLine, LogStream, ProgramSummary, Sandbox, SandboxState,
    program::{LimitHit, ProgramResult},
};
use jiff::Timestamp;
use protocol::SandboxId;

use super::{
    super::types::{EndWord, EndedBody, LevelWord, LimitWord, LogLineBody, RunBody, SandboxBody, StatusWord},
    base_url::BaseUrl,
};
use crate::timestamps::WireTimestamp;

/// The exit code of a program that was ended at its time limit, as timeout(1) has it.
const EXIT_CODE_TIMED_OUT: i32 = 124;
/// What existing clients look for in the error output of such a program.
const TIMED_OUT: &str = "Execution timed out";
/// What a sandbox without a program shows as its runtime: its image, of which there is one.
const RUNTIME_WITHOUT_PROGRAM: &str = "host";

/// A sandbox.
pub(in super::super) fn sandbox_body(sandbox: &Sandbox, base: &BaseUrl) -> SandboxBody {
    let program = sandbox.program.as_ref();
    SandboxBody {
        id: sandbox.id,
        status: status(sandbox),
        runtime: program.map_or(RUNTIME_WITHOUT_PROGRAM, |program| program.language.name()),
        created_at: WireTimestamp(sandbox.created_at),
        timeout_ms: program.map_or_else(|| lease_ms(sandbox), |program| millis(program.timeout)),
        memory_limit_mb: sandbox.limits.memory_bytes >> 20,
        dev_server_url: program.and_then(|program| base.dev_server(sandbox.id, program)),
        ended: sandbox.end.as_ref().zip(sandbox.ended_at).map(|(end, at)| ended(end, at)),
    }
}

fn ended(end: &EndReason, at: Timestamp) -> EndedBody {
    let reason = match end {
        EndReason::Exited { .. } => EndWord::Exited,
        EndReason::Signaled { .. } => EndWord::Signaled,
        EndReason::TimedOut { .. } => EndWord::TimedOut,
        EndReason::OutOfMemory { .. } => EndWord::OutOfMemory,
        EndReason::Killed { .. } => EndWord::Killed,
        EndReason::LeaseEnded => EndWord::LeaseEnded,
        EndReason::LaunchFailed { .. } | EndReason::NoImage { .. } => EndWord::LaunchFailed,
        EndReason::Lost { .. } => EndWord::Lost,
    };
    let text = match end {
        // The step has paths of the host: it is in the log, and in the record.
        EndReason::LaunchFailed { .. } => "could not be launched".to_owned(),
        shown => shown.to_string(),
    };
    EndedBody { at: WireTimestamp(at), reason, text }
}

fn status(sandbox: &Sandbox) -> StatusWord {
    match sandbox.state {
        SandboxState::Pending => StatusWord::Created,
        SandboxState::Running
        | SandboxState::Pausing
        | SandboxState::Paused
        | SandboxState::Resuming
        | SandboxState::Stopping => StatusWord::Running,
        SandboxState::Terminated if ended_well(sandbox) => StatusWord::Completed,
        SandboxState::Terminated | SandboxState::Failed => StatusWord::Failed,
    }
}

fn ended_well(sandbox: &Sandbox) -> bool {
    match &sandbox.last_result {
        Some(result) => is_success(result),
        None => matches!(sandbox.end, Some(EndReason::Exited { code: 0 })),
    }
}

/// The time from its making to the end of its lease; 0 where it has none.
fn lease_ms(sandbox: &Sandbox) -> u64 {
    let lease = sandbox.lease_until.map(|until| until.duration_since(sandbox.created_at).as_millis());
    lease.map_or(0, |ms| u64::try_from(ms).unwrap_or(0))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A program that leaves with 0 when it is told to end at its time limit has not succeeded.
fn is_success(result: &ProgramResult) -> bool {
    result.success() && !result.limits_hit.contains(&LimitHit::Timeout)
}

/// A run. `kept` is the sandbox and the program in it that may run on.
pub(in super::super) fn run_body(
    result: ProgramResult,
    kept: Option<(ProgramSummary, SandboxId)>,
    base: &BaseUrl,
) -> RunBody {
    let success = is_success(&result);
    let is_running = result.status.is_none();
    let timed_out = result.limits_hit.contains(&LimitHit::Timeout);
    let dev_server_url = kept.filter(|_| is_running).and_then(|(program, id)| base.dev_server(id, &program));
    let stdout = match (is_running, &dev_server_url) {
        (false, _) => text(result.stdout),
        (true, None) => "Persistent container setup completed".to_owned(),
        (true, Some(_)) => "Persistent container with dev server setup completed".to_owned(),
    };
    let mut stderr = text(result.stderr);
    if timed_out && !stderr.contains(TIMED_OUT) {
        if !stderr.is_empty() && !stderr.ends_with('\n') {
            stderr.push('\n');
        }
        stderr.push_str(TIMED_OUT);
        stderr.push('\n');
    }
    RunBody {
        success,
        stdout,
        stderr,
        exit_code: if timed_out {
            EXIT_CODE_TIMED_OUT
        } else {
            result.status.map_or(0, |status| status.shell_code())
        },
        execution_time_ms: millis(result.wall),
        is_running,
        dev_server_url,
        limits_hit: result.limits_hit.into_iter().map(limit_word).collect(),
    }
}

/// Output as text; copied only when it has bytes to replace.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn limit_word(hit: LimitHit) -> LimitWord {
    match hit {
        LimitHit::Timeout => LimitWord::Timeout,
        LimitHit::Memory => LimitWord::Memory,
        LimitHit::Output => LimitWord::Output,
        LimitHit::Processes => LimitWord::Processes,
        LimitHit::Disk => LimitWord::Disk,
    }
}

/// A line of the log.
pub(in super::super) fn log_line_body(line: LogLine, id: SandboxId) -> LogLineBody {
    LogLineBody {
        timestamp: WireTimestamp(line.at),
        level: match line.stream {
            LogStream::Stdout => LevelWord::Info,
            LogStream::Stderr => LevelWord::Error,
        },
        message: line.text,
        sandbox_id: id,
    }
}

#[cfg(test)]
mod tests;
