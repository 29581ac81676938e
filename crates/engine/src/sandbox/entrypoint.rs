//! The entrypoint of a sandbox that is kept up: started with it, followed into its log, and its end with it.

use protocol::{
    ExecId, SandboxId,
    agent::{ExecEnd, ExecSpec, ExitStatus, Stdin},
};
use store::EndReason;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{operation::Operation, task::State, user::image_user_look};
use crate::{
    Error, Result,
    agent::{self, AgentError, Connection, ExecEvent, retain_bytes},
    log::{LOG_BYTES, LogStream},
    program::{OutputPiece, sandbox_ended},
};

/// The exec that a sandbox's entrypoint is: known without a note to a server that takes it over.
fn entry_exec(sandbox: SandboxId) -> ExecId {
    ExecId::from(sandbox.uuid())
}

/// The number of the signal, as in signal(7).
const SIGKILL: i32 = 9;

/// Follows an entrypoint. Gives how it ended, or none if its sandbox went first.
pub(super) type Entry = JoinHandle<Option<ExecEnd>>;

impl Operation {
    /// Starts the entrypoint of a sandbox that was just launched, if it has one.
    pub(super) async fn entrypoint_start(&mut self) -> Result<()> {
        let Some(argv) = self.record.entrypoint.clone() else { return Ok(()) };
        let mut connection = self.connect().await?;
        let base = self.engine.image_base(&self.record.image).await?;
        let user = image_user_look(&mut connection, &base).await?;
        let spec = ExecSpec {
            id: entry_exec(self.record.id),
            argv,
            env: user.environment(&base, &self.record.env),
            cwd: base.cwd.clone(),
            uid: user.uid,
            gid: user.gid,
            stdin: Stdin::Null,
            timeout_ms: None,
            output_bytes_max: None,
            retain_bytes: retain_bytes(LOG_BYTES, &self.record.limits),
            terminal: None,
        };
        let started = async {
            agent::exec_start(&mut connection, spec).await?;
            agent::exec_started(&mut connection).await
        };
        match started.await {
            Ok(()) => self.entry = Some(connection),
            Err(AgentError::Failed(failure)) => return Err(Error::invalid("entrypoint", failure.message)),
            Err(error) => return Err(sandbox_ended(error)),
        }
        Ok(())
    }
}

impl State {
    /// Follows an entrypoint that was just started.
    pub(super) fn entry_follow(&mut self, connection: Connection) {
        self.entry = Some(tokio::spawn(follow(connection, self.output.clone())));
    }

    /// Follows the entrypoint that an earlier server started.
    pub(super) async fn entry_adopt(&mut self) {
        let id = self.task.record.id;
        if self.task.record.entrypoint.is_none() {
            return;
        }
        let Ok(socket) = self.task.engine.runtime.agent_connect(id).await else { return };
        let output = self.output.clone();
        self.entry = Some(tokio::spawn(async move {
            let mut connection = Connection::new(socket);
            match agent::exec_attach(&mut connection, entry_exec(id)).await {
                Ok(()) => follow(connection, output).await,
                Err(error) => {
                    tracing::warn!(sandbox = %id, ?error, "the entrypoint can't be followed");
                    None
                }
            }
        }));
    }

    /// The entrypoint has ended, and the sandbox with it; after what goes on, which may start it anew.
    pub(super) async fn entry_ended(&mut self, end: Option<ExecEnd>) {
        self.entry = None;
        if self.ongoing.is_some() {
            self.entry_end = end;
            return;
        }
        let Some(ExecEnd { status, .. }) = end.filter(|_| self.up) else { return };
        let id = self.task.record.id;
        let killed = status == ExitStatus::Signaled(SIGKILL);
        let out_of_memory =
            killed && self.task.engine.runtime.stats(id).await.is_ok_and(|stats| stats.oom_kills > 0);
        let reason = match status {
            _ if out_of_memory => {
                EndReason::OutOfMemory { limit_bytes: self.task.record.limits.memory_bytes }
            }
            ExitStatus::Exited(code) => EndReason::Exited { code },
            ExitStatus::Signaled(signal) => EndReason::Signaled { signal },
        };
        self.end(reason, "").await;
    }
}

async fn follow(mut connection: Connection, output: mpsc::Sender<OutputPiece>) -> Option<ExecEnd> {
    let (mut receiving, _) = connection.split();
    loop {
        let piece = match agent::exec_next(&mut receiving).await {
            Ok(ExecEvent::Stdout(bytes)) => (LogStream::Stdout, bytes),
            Ok(ExecEvent::Stderr(bytes)) => (LogStream::Stderr, bytes),
            Ok(ExecEvent::Ended(end)) => return Some(end),
            Err(_) => return None,
        };
        output.send(piece).await.ok()?;
    }
}
