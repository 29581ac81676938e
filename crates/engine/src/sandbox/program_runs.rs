//! The task's part in runs of the sandbox's program: starting one, and what is kept of it when it has ended.

use std::sync::Arc;

use jiff::Timestamp;
use protocol::launcher::{ImageName, LaunchSpec, Stats};
use store::{Batch, EndReason, SandboxState};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{
    operation::launch_failed,
    recording::end_reason,
    run::{Outcome, Run, limits_note},
    task::{Current, State},
};
use crate::{
    Error, ErrorKind, Result,
    agent::retain_bytes,
    log::{LOG_BYTES, LogStream},
    program::{Job, Mode, Program, ProgramFile, ProgramResult, program_plan},
};

/// What the files of one program may hold together.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;

impl State {
    /// Starts a run, or puts it behind the one that goes on. A persistent program is started anew.
    pub(super) async fn run_ask(&mut self, by: String, reply: oneshot::Sender<Result<ProgramResult>>) {
        if self.ongoing.is_some() || self.current.as_ref().is_some_and(|current| current.reply.is_some()) {
            self.queue.push_back((by, reply));
            return;
        }
        if self.current.is_some()
            && let Err(error) = self.processes_end("was started anew").await
        {
            let _ = reply.send(Err(error));
            return;
        }
        match self.run_start(&by).await {
            Ok(current) => self.current = Some(Current { reply: Some(reply), ..current }),
            Err(error) => {
                if self.task.record.ephemeral {
                    self.forget("", &[]).await;
                }
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Starts a run that nobody has asked for yet.
    pub(super) async fn run_start(&mut self, by: &str) -> Result<Current> {
        let engine = Arc::clone(&self.task.engine);
        let permit = Arc::clone(&engine.running).try_acquire_owned().map_err(|_| {
            let text = format!("Too many sandboxes run at once (at most {})", engine.settings.running_max);
            Error::new(ErrorKind::Busy { retry_after_s: 1 }, text)
        })?;
        let job = self.job().await?;
        let record = &mut self.task.record;
        record.state = SandboxState::Running;
        record.started_at = Some(Timestamp::now());
        record.ended_at = None;
        record.end = None;
        self.record_write(Some("launched"), by).await?;
        Ok(self.run_spawn(job, Some(permit), true))
    }

    /// Goes on with a run that an earlier server started: its program is followed.
    pub(super) async fn run_adopt(&mut self) -> Result<()> {
        let job = self.job().await?;
        let permit = Arc::clone(&self.task.engine.running).try_acquire_owned().ok();
        self.current = Some(self.run_spawn(job, permit, false));
        Ok(())
    }

    fn run_spawn(&self, job: Job, running: Option<OwnedSemaphorePermit>, launch: bool) -> Current {
        let engine = &self.task.engine;
        let record = &self.task.record;
        let logged = job.mode == Mode::Persistent;
        let wanted = match (record.ephemeral, logged) {
            // No other server goes on with it.
            (true, _) => 0,
            (false, true) => LOG_BYTES,
            (false, false) => engine.settings.output_bytes_max,
        };
        let (launched, seen_launched) = watch::channel(!launch);
        let run = Run {
            runtime: Arc::clone(&engine.runtime),
            sandbox: record.id,
            launch: launch.then_some(LaunchSpec {
                sandbox: record.id,
                image: ImageName::Host,
                limits: record.limits,
                network: record.network,
                ephemeral: record.ephemeral,
                origin: None,
                total_bytes: engine.settings.total_bytes(&record.limits),
                network_policy: None,
                // No dialect that has programs has volumes.
                volumes: Vec::new(),
            }),
            view: self.view.subscribe(),
            env: engine.settings.environment.iter().chain(&record.env).cloned().collect(),
            job,
            output_bytes_max: engine.settings.output_bytes_max,
            retain_bytes: retain_bytes(wanted, &record.limits),
            launched,
        };
        let (told_up, up) = oneshot::channel();
        let outcome = tokio::spawn(run.outcome(told_up));
        let up = launch.then_some(up);
        Current { outcome, up, reply: None, launched: seen_launched, logged, _running: running }
    }

    /// What to run. A persistent program's output goes to the log.
    pub(super) async fn job(&mut self) -> Result<Job> {
        if let Some(job) = self.task.job.take() {
            return Ok(job);
        }
        let mut job = Job::program(&self.program().await?)?;
        if job.mode == Mode::Persistent {
            job.stream = Some(self.output.clone());
        }
        Ok(job)
    }

    pub(super) async fn program(&self) -> Result<Program> {
        match self.task.engine.store.program_get(self.task.record.id).await.map_err(Error::internal)? {
            Some(body) => postcard::from_bytes(&body).map_err(Error::internal),
            None => Err(Error::new(ErrorKind::Conflict, "The sandbox has no program to run")),
        }
    }

    /// A persistent program is up: whoever asked for the run learns it.
    pub(super) async fn up(&mut self, result: ProgramResult) {
        if let Some(current) = &mut self.current {
            current.up = None;
            if let Some(reply) = current.reply.take() {
                let _ = reply.send(Ok(result));
            }
        }
        self.queue_next().await;
    }

    /// A run has ended: its sandbox's processes go, its result is kept. Returns whether the task is done.
    pub(super) async fn run_ended(&mut self, outcome: Outcome) -> bool {
        let Some(current) = self.current.take() else { return false };
        let stats = self.processes_kill().await;
        let result = stats.and_then(|stats| self.result_of(outcome, &stats));
        self.log.finish();
        match &result {
            Ok(result) => {
                if !current.logged {
                    self.log.write(LogStream::Stdout, &result.stdout);
                    self.log.write(LogStream::Stderr, &result.stderr);
                    self.log.finish();
                }
                self.task.record.end = Some(end_reason(result, &self.task.record));
                self.task.record.state = SandboxState::Terminated;
                self.task.record.last_result = serde_json::to_value(result.shortened()).ok();
            }
            Err(error) if self.task.record.end.is_none() => {
                self.task.record.end = Some(EndReason::Lost { detail: error.public().to_owned() });
                self.task.record.state = SandboxState::Failed;
            }
            Err(_) => self.task.record.state = SandboxState::Failed,
        }
        self.task.record.ended_at = Some(Timestamp::now());
        let gone = self.task.record.ephemeral;
        if !gone && let Err(error) = self.record_write(Some("ended"), "").await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "the end of a sandbox was not recorded");
        }
        if gone {
            // Whoever has the result does not find the sandbox any more.
            self.task.engine.registry_remove(self.task.record.id);
        }
        // Whoever has the result may run the next at once.
        drop(current._running);
        if let Some(reply) = current.reply {
            let _ = reply.send(result);
        }
        if gone {
            self.vanish().await;
        } else {
            self.queue_next().await;
        }
        gone
    }

    pub(super) fn result_of(&mut self, outcome: Outcome, stats: &Stats) -> Result<ProgramResult> {
        let limits = self.task.record.limits;
        let before = Stats::default();
        match outcome {
            Outcome::Ended(mut result) => {
                limits_note(&mut result, &before, stats, &limits);
                Ok(result)
            }
            Outcome::AgentGone { wall, error } if stats.oom_kills > 0 => {
                tracing::debug!(sandbox = %self.task.record.id, ?error, "out of memory");
                let mut result = ProgramResult {
                    status: Some(protocol::agent::ExitStatus::Signaled(9)),
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                    noted_bytes: 0,
                    wall,
                    limits_hit: Vec::new(),
                };
                limits_note(&mut result, &before, stats, &limits);
                Ok(result)
            }
            Outcome::AgentGone { error, .. } => Err(error),
            Outcome::NotLaunched(error) => {
                let (end, error) = launch_failed(error);
                self.task.record.end = end;
                Err(error)
            }
        }
    }

    /// Removes what is left of a sandbox of which nothing is kept. Its processes have ended and its result
    /// was handed out: nobody waits for this.
    pub(super) async fn vanish(&mut self) {
        let id = self.task.record.id;
        if let Err(error) = self.task.engine.runtime.remove(id).await {
            tracing::error!(sandbox = %id, %error, "the files of an ended sandbox stay until the next start");
        }
        self.forget("", &[]).await;
    }

    pub(super) async fn queue_next(&mut self) {
        if let Some((by, reply)) = self.queue.pop_front() {
            self.run_ask(by, reply).await;
        }
    }

    /// Keeps files with the program, for the runs to come.
    pub(super) async fn files_keep(&mut self, files: Vec<ProgramFile>) -> Result<()> {
        let mut program = self.program().await?;
        program.files.retain(|old| !files.iter().any(|new| new.path == old.path));
        program.files.extend(files);
        let bytes: usize = program.files.iter().map(|file| file.content.len()).sum();
        if bytes as u64 > self.task.record.limits.disk_bytes.min(PROGRAM_BYTES_MAX) {
            let text = format!("The files of a program may hold {} MB together", PROGRAM_BYTES_MAX >> 20);
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        program_plan(&program)?;
        let body = postcard::to_stdvec(&program).map_err(Error::internal)?;
        self.task.engine.program_room_check(body.len()).await?;
        let batch = Batch::new().program_put(self.task.record.id, body);
        self.task.engine.store.apply(batch).await.map_err(Error::internal)
    }
}
