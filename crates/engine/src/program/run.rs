//! The parts of a run in a sandbox that is launched: files, set-up commands, what an end means.

use std::time::{Duration, Instant};

use protocol::{
    ExecId, GuestPath,
    agent::{ExecEnd, ExecSpec, ExitStatus, Stdin},
};

use super::{
    LimitHit, ProgramFile, ProgramResult,
    plan::{Command, ProgramPlan},
};
use crate::{
    Error, Result,
    agent::{self, AgentError, Connection, ExecOutput},
};

/// Bytes of each stream that are kept of a set-up command.
const SETUP_OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// What every command of a run has in common.
pub(crate) struct RunContext<'a> {
    /// Environment of the sandbox.
    pub(crate) env: &'a [(String, String)],
    /// Where they start.
    pub(crate) cwd: &'a GuestPath,
    /// User and group, by numbers of the sandbox.
    pub(crate) user: (u32, u32),
    /// What the program itself reads; commands before it read nothing.
    pub(crate) stdin: Stdin,
    /// The time for everything together.
    pub(crate) timeout: Duration,
    /// Bytes of each stream that are kept; all of them, at the speed of whoever reads, if there is no number.
    pub(crate) output_bytes_max: Option<u64>,
    /// Bytes of each stream of the program itself that its agent retains for another server.
    pub(crate) retain_bytes: u64,
}

impl RunContext<'_> {
    /// A command as the agent takes it.
    pub(crate) fn exec_spec(
        &self,
        id: ExecId,
        command: &Command,
        timeout: Option<Duration>,
    ) -> Result<ExecSpec> {
        let added = command.env.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Ok(ExecSpec {
            id,
            argv: command.argv.clone(),
            env: self.env.iter().cloned().chain(added).collect(),
            cwd: self.cwd.clone(),
            uid: self.user.0,
            gid: self.user.1,
            stdin: self.stdin,
            timeout_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)),
            output_bytes_max: self.output_bytes_max,
            retain_bytes: self.retain_bytes,
            terminal: None,
        })
    }
}

/// What came of the set-up commands.
pub(crate) enum Setup {
    /// The program can start.
    Ready,
    /// One of them failed: that is the result of the run.
    Ended(ProgramResult),
}

/// Writes the files and runs the set-up commands.
pub(crate) async fn set_up(
    connection: &mut Connection,
    plan: &ProgramPlan,
    context: &RunContext<'_>,
    started: Instant,
) -> Result<Setup> {
    agent::files_write(connection, &plan.files).await.map_err(file_error)?;
    for command in &plan.setup {
        let left = context.timeout.saturating_sub(started.elapsed());
        let spec = ExecSpec {
            stdin: Stdin::Null,
            output_bytes_max: Some(SETUP_OUTPUT_BYTES_MAX),
            // No other server goes on with the steps of a set-up.
            retain_bytes: 0,
            ..context.exec_spec(ExecId::random(), command, Some(left))?
        };
        let output = match agent::exec_collect(connection, spec, SETUP_OUTPUT_BYTES_MAX).await {
            Ok(output) => output,
            Err(AgentError::Failed(failure)) => {
                return Ok(Setup::Ended(not_started(&failure.message, started)));
            }
            Err(error) => return Err(sandbox_ended(error)),
        };
        if output.end.status != ExitStatus::Exited(0) {
            let mut result = result_of(output, started, context.timeout);
            // The tool's report is the program's failure: it belongs to standard error whole.
            let mut text = std::mem::take(&mut result.stdout);
            text.append(&mut result.stderr);
            result.stderr = text;
            return Ok(Setup::Ended(result));
        }
    }
    Ok(Setup::Ready)
}

/// A command that could not be started ends as in a shell: status 127 and a line that says why.
pub(crate) fn not_started(message: &str, started: Instant) -> ProgramResult {
    ProgramResult {
        status: Some(ExitStatus::Exited(127)),
        stdout: Vec::new(),
        stderr: format!("{message}\n").into_bytes(),
        noted_bytes: 0,
        wall: started.elapsed(),
        limits_hit: Vec::new(),
    }
}

/// What an exec's end says of the run.
pub(crate) fn result_of(output: ExecOutput, started: Instant, timeout: Duration) -> ProgramResult {
    let ExecEnd { status, timed_out, stdout_dropped_bytes, stderr_dropped_bytes, .. } = output.end;
    let mut result = ProgramResult {
        status: Some(status),
        stdout: output.stdout,
        stderr: output.stderr,
        noted_bytes: 0,
        wall: started.elapsed(),
        limits_hit: Vec::new(),
    };
    if timed_out {
        result.limit_note(
            LimitHit::Timeout,
            &format!("Execution timed out (limit {} ms)", timeout.as_millis()),
        );
    }
    let dropped = stdout_dropped_bytes.saturating_add(stderr_dropped_bytes);
    if dropped > 0 {
        result.limit_note(LimitHit::Output, &format!("Output limit reached: {dropped} bytes were dropped"));
    }
    result
}

impl ProgramResult {
    /// Notes a limit, for programs in `limits_hit` and for people at the end of standard error.
    pub(crate) fn limit_note(&mut self, limit: LimitHit, text: &str) {
        if self.limits_hit.contains(&limit) {
            return;
        }
        self.limits_hit.push(limit);
        let before = self.stderr.len();
        if !self.stderr.is_empty() && !self.stderr.ends_with(b"\n") {
            self.stderr.push(b'\n');
        }
        self.stderr.extend_from_slice(text.as_bytes());
        self.stderr.push(b'\n');
        self.noted_bytes += self.stderr.len() - before;
    }
}

/// Writes files that a client sent.
pub(crate) async fn files_upload(connection: &mut Connection, files: &[ProgramFile]) -> Result<()> {
    agent::files_write(connection, files).await.map_err(file_error)
}

/// What a file that could not be written means for the client.
pub(crate) fn file_error(error: AgentError) -> Error {
    use crate::ErrorKind;
    match error {
        AgentError::Failed(failure) => Error::new(ErrorKind::Refused, failure.message),
        other => sandbox_ended(other),
    }
}

/// The agent is gone in the middle of something: so is the sandbox.
pub(crate) fn sandbox_ended(error: AgentError) -> Error {
    Error::new(crate::ErrorKind::SandboxEnded, "The sandbox ended while the request ran").caused_by(error)
}
