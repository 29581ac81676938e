//! Commands beside whatever else goes on: started at once, their output kept.

use std::time::Duration;

use protocol::{
    ExecId, GuestPath, SandboxId,
    agent::{ExecSpec, ExitStatus, Stdin},
};

use super::{Inside, patiently};
use crate::{
    Caller, Engine, Error, Result, agent,
    images::with,
    sandbox::{GRACE, User, image_user_look, user_look},
};

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRunSpec {
    /// Program and arguments. A program without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Goes before the sandbox's own environment.
    pub env: Vec<(String, String)>,
    /// Where it starts; where the sandbox's programs do if it is not said.
    pub cwd: Option<GuestPath>,
    /// Whose it is, by name or number of the sandbox; whose the sandbox's programs are if it is not said.
    pub user: Option<String>,
    /// The time it may take; then its whole tree is killed.
    pub timeout: Duration,
    /// Bytes of each stream that are kept. What is over is dropped, and the command goes on.
    pub output_bytes_max: u64,
    /// What it reads; nothing if there is none.
    pub stdin: Option<Vec<u8>>,
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecResult {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it was killed at its time limit.
    pub timed_out: bool,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// Bytes of both that were dropped.
    pub dropped_bytes: u64,
    /// How long it took.
    pub wall: Duration,
}

/// What every process that is started here has.
pub(super) struct Start {
    pub(super) id: ExecId,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: Option<GuestPath>,
    pub(super) user: Option<String>,
}

impl Engine {
    /// Runs a command in a sandbox that is kept up, beside whatever else goes on there. Whoever goes away leaves it
    /// running until its time limit.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`], [`crate::ErrorKind::Conflict`] when the sandbox does not run or is paused;
    /// [`crate::ErrorKind::Invalid`] for a time limit over the configured one; one with a [`crate::FileProblem`] that
    /// names the program when it could not be started; [`crate::ErrorKind::SandboxEnded`],
    /// [`crate::ErrorKind::TimedOut`]. A command that fails, or is killed at its time limit, is a result.
    pub async fn exec_run(&self, caller: &Caller, id: SandboxId, spec: ExecRunSpec) -> Result<ExecResult> {
        let max = self.inner.settings.timeout_max;
        if spec.timeout.is_zero() || spec.timeout > max {
            let text = format!("must be between 1 and {} ms", max.as_millis());
            return Err(Error::invalid("timeout", text));
        }
        let mut inside = self.inside(caller, id).await?;
        let ExecRunSpec { argv, env, cwd, user, timeout, output_bytes_max, stdin } = spec;
        let start = Start { id: ExecId::random(), argv, env, cwd, user };
        let spec = ExecSpec {
            stdin: if stdin.is_some() { Stdin::Piped } else { Stdin::Null },
            timeout_ms: Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)),
            output_bytes_max: Some(output_bytes_max),
            ..self.exec_spec(&mut inside, start).await?
        };
        let connection = &mut inside.connection;
        let output = patiently(timeout + GRACE, async {
            agent::exec_start(connection, spec).await?;
            agent::exec_started(connection).await?;
            agent::exec_feed_collect(connection, stdin, output_bytes_max).await
        });
        let agent::ExecOutput { stdout, stderr, end } = output.await?;
        Ok(ExecResult {
            status: end.status,
            timed_out: end.timed_out,
            stdout,
            stderr,
            dropped_bytes: end.stdout_dropped_bytes.saturating_add(end.stderr_dropped_bytes),
            wall: Duration::from_micros(end.wall_us),
        })
    }

    /// What the agent is told of a process: without input, limits or a terminal.
    pub(super) async fn exec_spec(&self, inside: &mut Inside, start: Start) -> Result<ExecSpec> {
        let Start { id, argv, env, cwd, user } = start;
        let base = self.inner.image_base(&inside.sandbox.image).await?;
        let user: User = match user {
            Some(_) => user_look(&mut inside.connection, user.as_deref()).await?,
            None => image_user_look(&mut inside.connection, &base).await?,
        };
        Ok(ExecSpec {
            id,
            argv,
            env: with(&user.environment(&base, &inside.sandbox.env), &env),
            cwd: cwd.unwrap_or_else(|| base.cwd.clone()),
            uid: user.uid,
            gid: user.gid,
            stdin: Stdin::Null,
            timeout_ms: None,
            output_bytes_max: None,
            retain_bytes: 0,
            terminal: None,
        })
    }
}
