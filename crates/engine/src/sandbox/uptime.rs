//! The task's part in keeping a sandbox up: whether it is, and what its end without a request means.

use std::sync::Arc;

use jiff::Timestamp;
use protocol::launcher::Stats;
use store::{EndReason, SandboxState};

use super::{handle::What, operations::Ongoing, task::State};
use crate::{Error, ErrorKind, Result};

/// What takes a sandbox that runs is asked of one that does not.
pub(super) fn not_running() -> Error {
    Error::new(ErrorKind::Conflict, "The sandbox does not run")
}

/// The same, and it is paused.
pub(super) fn paused() -> Error {
    Error::new(ErrorKind::Conflict, "The sandbox is paused; resume it first")
}

impl State {
    /// Whether it is one that is kept up, and not one that is launched for each run of its program.
    pub(super) fn is_kept_up(&self) -> bool {
        self.task.record.program.is_none() && !self.task.record.ephemeral
    }

    /// Whether its agent can be reached.
    pub(super) fn is_up(&self) -> bool {
        self.up || self.current.as_ref().is_some_and(|current| *current.launched.borrow())
    }

    /// Whether its processes are stopped, their memory kept.
    pub(super) fn is_paused(&self) -> bool {
        self.up && self.task.record.state == SandboxState::Paused
    }

    /// Whether it is being paused, or will be before anything that is asked for now.
    pub(super) fn is_falling_asleep(&self) -> bool {
        self.ongoing.as_ref().is_some_and(Ongoing::is_pause)
            || self.operations.iter().any(|it| matches!(it.what, What::Pause { .. }))
    }

    /// Whether it can be paused.
    pub(super) fn pause_check(&self) -> Result<()> {
        if self.is_kept_up() && self.up && !self.is_paused() {
            return Ok(());
        }
        if self.is_paused() {
            return Err(Error::new(ErrorKind::Conflict, "The sandbox is paused already"));
        }
        Err(not_running())
    }

    /// Whether it is to be resumed: of one that runs no, if that will do, else it is an error.
    pub(super) fn resume_check(&self, or_running: bool) -> Result<bool> {
        match (self.is_paused(), self.up) {
            (true, _) => Ok(true),
            (false, true) if or_running => Ok(false),
            (false, true) => Err(Error::new(ErrorKind::Conflict, "The sandbox is not paused")),
            (false, false) => Err(not_running()),
        }
    }

    /// Takes a permit to run, unless it has one.
    pub(super) fn permit_take(&mut self) -> Result<()> {
        if self.permit.is_none() {
            let engine = &self.task.engine;
            let permit = Arc::clone(&engine.running).try_acquire_owned().map_err(|_| {
                let text =
                    format!("Too many sandboxes run at once (at most {})", engine.settings.running_max);
                Error::new(ErrorKind::Busy { retry_after_s: 1 }, text)
            })?;
            self.permit = Some(permit);
        }
        Ok(())
    }

    /// Notes in the record whether it is up.
    pub(super) fn up_set(&mut self, up: bool, paused: bool, end: Option<EndReason>) {
        self.up = up;
        let record = &mut self.task.record;
        if up {
            record.state = if paused { SandboxState::Paused } else { SandboxState::Running };
            return;
        }
        self.permit = None;
        if matches!(record.state, SandboxState::Running | SandboxState::Paused) {
            let failed = matches!(end, Some(EndReason::LaunchFailed { .. }));
            record.state = if failed { SandboxState::Failed } else { SandboxState::Terminated };
            record.ended_at = Some(Timestamp::now());
            record.end = end.or(Some(EndReason::Lost { detail: "it could not go on".to_owned() }));
        }
    }

    /// All its processes have ended, and nobody asked for that.
    pub(super) async fn exited_by_itself(&mut self, stats: &Stats) {
        if self.ongoing.is_some() {
            // What goes on fails by it, and then this is looked at.
            self.exited = Some(*stats);
            return;
        }
        if !self.up {
            return;
        }
        if self.task.engine.agent_answers(self.task.record.id).await {
            // What ended was the one before a restore, or one that was being restored when its launcher died.
            return;
        }
        let end = if stats.oom_kills > 0 {
            EndReason::OutOfMemory { limit_bytes: self.task.record.limits.memory_bytes }
        } else {
            EndReason::Lost { detail: "its first process ended".to_owned() }
        };
        if let Err(error) = self.processes_kill().await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "what is left of an ended sandbox stays");
        }
        self.up_set(false, false, Some(end));
        if let Err(error) = self.record_write(Some("ended"), "").await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "the end of a sandbox was not recorded");
        }
    }
}
