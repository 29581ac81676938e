//! The task that owns a sandbox: the only place where its record changes and its processes are started or
//! ended.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::launcher::{ImageName, LaunchSpec, Stats};
use store::{Batch, EndReason, Event, SandboxRecord, SandboxState};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    admission::later,
    handle::{Command, Handle},
    run::{Outcome, Run, limits_note},
    upload::{Uploaded, upload},
    view_of,
};
use crate::{
    Error, ErrorKind, Result, Sandbox,
    engine::Inner,
    log::{Log, LogStream},
    program::{Job, LimitHit, Mode, OutputPiece, Program, ProgramFile, ProgramResult, program_plan},
};

/// Everything about one sandbox.
pub(crate) struct Task {
    pub(crate) engine: Arc<Inner>,
    pub(crate) record: SandboxRecord,
    /// What to run where that is not in the store: in a sandbox of which nothing is kept.
    pub(crate) job: Option<Job>,
}

/// The run that goes on.
struct Current {
    outcome: JoinHandle<Outcome>,
    /// Told when a persistent program is up; gone once it was.
    up: Option<oneshot::Receiver<ProgramResult>>,
    /// Who asked for the run; gone once answered.
    reply: Option<oneshot::Sender<Result<ProgramResult>>>,
    /// Whether its agent can be reached; closed if it never will.
    launched: watch::Receiver<bool>,
    /// What it writes goes to the log as it comes.
    logged: bool,
    _running: OwnedSemaphorePermit,
}

struct State {
    task: Task,
    view: watch::Sender<Sandbox>,
    log: Log,
    output: mpsc::Sender<OutputPiece>,
    current: Option<Current>,
    queue: VecDeque<oneshot::Sender<Result<ProgramResult>>>,
    uploads: JoinSet<Uploaded>,
}

/// Starts the task of a sandbox and returns the way to it.
pub(crate) fn task_start(task: Task) -> Handle {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (view, seen) = watch::channel(view_of(&task.record));
    let (output, written) = mpsc::channel(OUTPUT_PIECES);
    let state = State {
        task,
        view,
        log: Log::default(),
        output,
        current: None,
        queue: VecDeque::new(),
        uploads: JoinSet::new(),
    };
    tokio::spawn(state.serve(inbox, written));
    Handle { commands, view: seen }
}

/// Pieces of a persistent program's output that wait to be logged; more slow it down.
const OUTPUT_PIECES: usize = 16;

/// What woke the task.
enum Wake {
    Command(Option<Command>),
    Output(OutputPiece),
    Up(ProgramResult),
    Ended(Outcome),
    Uploaded(Uploaded),
    CallerGone,
    LeaseOver,
}

impl State {
    async fn serve(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        mut written: mpsc::Receiver<OutputPiece>,
    ) {
        loop {
            match self.wake(&mut inbox, &mut written).await {
                Wake::Command(None) => return,
                Wake::Command(Some(Command::Delete { by, reply })) => {
                    let deleted = self.delete(EndReason::Killed { by: by.clone() }, &by).await;
                    let done = deleted.is_ok();
                    let _ = reply.send(deleted);
                    if done {
                        return;
                    }
                }
                Wake::Command(Some(command)) => self.command(command).await,
                Wake::Output((stream, bytes)) => self.log.write(stream, &bytes),
                Wake::Up(result) => self.up(result).await,
                Wake::Ended(outcome) => {
                    while let Ok((stream, bytes)) = written.try_recv() {
                        self.log.write(stream, &bytes);
                    }
                    if self.run_ended(outcome).await {
                        return;
                    }
                }
                Wake::Uploaded(Uploaded { files, written, reply }) => {
                    let kept = match written {
                        // It has just ended: the files are there for the next run.
                        Err(error) if error.kind() != ErrorKind::SandboxEnded => Err(error),
                        _ => self.files_keep(files).await,
                    };
                    let _ = reply.send(kept);
                }
                Wake::CallerGone => {
                    if self.caller_gone().await {
                        return;
                    }
                }
                Wake::LeaseOver => {
                    if self.lease_over().await {
                        return;
                    }
                }
            }
        }
    }

    async fn wake(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        written: &mut mpsc::Receiver<OutputPiece>,
    ) -> Wake {
        let lease = self.task.record.lease_until.map(|until| Instant::now() + left(until));
        let ephemeral = self.task.record.ephemeral;
        let (up, outcome, reply) = match &mut self.current {
            Some(current) => (
                current.up.as_mut(),
                Some(&mut current.outcome),
                current.reply.as_mut().filter(|_| ephemeral),
            ),
            None => (None, None, None),
        };
        tokio::select! {
            command = inbox.recv() => Wake::Command(command),
            Some(output) = written.recv() => Wake::Output(output),
            Some(Ok(result)) = optional(up) => Wake::Up(result),
            Some(outcome) = optional(outcome) => Wake::Ended(outcome.unwrap_or_else(|error| Outcome::AgentGone {
                wall: Duration::ZERO,
                error: Error::internal(error),
            })),
            Some(Ok(uploaded)) = self.uploads.join_next() => Wake::Uploaded(uploaded),
            Some(()) = optional(reply.map(|reply| Box::pin(reply.closed()))) => Wake::CallerGone,
            () = sleep_until(lease) => Wake::LeaseOver,
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Run { reply } => self.run_ask(reply).await,
            Command::FilesWrite { files, reply } => match &self.current {
                Some(current) => {
                    let runtime = Arc::clone(&self.task.engine.runtime);
                    let launched = current.launched.clone();
                    self.uploads.spawn(upload(runtime, self.task.record.id, launched, files, reply));
                }
                None => {
                    let kept = self.files_keep(files).await;
                    let _ = reply.send(kept);
                }
            },
            Command::LogTail { lines, reply } => {
                let _ = reply.send(self.log.tail(lines));
            }
            // While something runs, its own end tells more. Without a run nothing is launched.
            Command::Exited | Command::Delete { .. } => {}
        }
    }

    /// Starts a run, or puts it behind the one that goes on. A persistent program is started anew.
    async fn run_ask(&mut self, reply: oneshot::Sender<Result<ProgramResult>>) {
        if self.current.as_ref().is_some_and(|current| current.reply.is_some()) {
            self.queue.push_back(reply);
            return;
        }
        if self.current.is_some()
            && let Err(error) = self.processes_end("was started anew").await
        {
            let _ = reply.send(Err(error));
            return;
        }
        match self.run_start().await {
            Ok(current) => self.current = Some(Current { reply: Some(reply), ..current }),
            Err(error) => {
                if self.task.record.ephemeral {
                    self.forget("").await;
                }
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Starts a run that nobody has asked for yet.
    async fn run_start(&mut self) -> Result<Current> {
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
        self.record_write("launched", "").await?;
        let record = &self.task.record;
        let logged = job.mode == Mode::Persistent;
        let (launched, seen_launched) = watch::channel(false);
        let run = Run {
            runtime: Arc::clone(&engine.runtime),
            sandbox: record.id,
            launch: LaunchSpec {
                sandbox: record.id,
                image: ImageName::Host,
                limits: record.limits,
                network: record.network,
                ephemeral: self.task.record.ephemeral,
                origin: None,
            },
            env: engine.settings.environment.iter().chain(&record.env).cloned().collect(),
            job,
            output_bytes_max: engine.settings.output_bytes_max,
            launched,
        };
        let (running, up) = oneshot::channel();
        let outcome = tokio::spawn(run.outcome(running));
        Ok(Current { outcome, up: Some(up), reply: None, launched: seen_launched, logged, _running: permit })
    }

    /// What to run. A persistent program's output goes to the log.
    async fn job(&mut self) -> Result<Job> {
        if let Some(job) = self.task.job.take() {
            return Ok(job);
        }
        let mut job = Job::program(&self.program().await?)?;
        if job.mode == Mode::Persistent {
            job.stream = Some(self.output.clone());
        }
        Ok(job)
    }

    async fn program(&self) -> Result<Program> {
        match self.task.engine.store.program_get(self.task.record.id).await.map_err(Error::internal)? {
            Some(body) => postcard::from_bytes(&body).map_err(Error::internal),
            None => Err(Error::new(ErrorKind::Conflict, "The sandbox has no program to run")),
        }
    }

    /// A persistent program is up: whoever asked for the run learns it.
    async fn up(&mut self, result: ProgramResult) {
        if let Some(current) = &mut self.current {
            current.up = None;
            if let Some(reply) = current.reply.take() {
                let _ = reply.send(Ok(result));
            }
        }
        self.queue_next().await;
    }

    /// A run has ended: its sandbox's processes go, its result is kept. Returns whether the task is done.
    async fn run_ended(&mut self, outcome: Outcome) -> bool {
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
        if !gone && let Err(error) = self.record_write("ended", "").await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "the end of a sandbox was not recorded");
        }
        if gone {
            // Whoever has the result does not find the sandbox any more.
            self.task.engine.registry_remove(self.task.record.id);
        }
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

    fn result_of(&mut self, outcome: Outcome, stats: &Stats) -> Result<ProgramResult> {
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
                    wall,
                    limits_hit: Vec::new(),
                };
                limits_note(&mut result, &before, stats, &limits);
                Ok(result)
            }
            Outcome::AgentGone { error, .. } => Err(error),
            Outcome::NotLaunched(error) => {
                let (step, errno) = match &error {
                    crate::RuntimeError::Step { step, errno } => (step.clone(), *errno),
                    other => (other.to_string(), 0),
                };
                self.task.record.end = Some(EndReason::LaunchFailed { step, errno });
                Err(match error {
                    crate::RuntimeError::StorageFull { .. } => {
                        let text = "The storage is full; delete sandboxes, or give the server more";
                        Error::new(ErrorKind::Unavailable, text)
                    }
                    _ => Error::new(ErrorKind::LaunchFailed, "The sandbox could not be launched"),
                }
                .caused_by(error))
            }
        }
    }

    /// Removes what is left of a sandbox of which nothing is kept. Its processes have ended and its result
    /// was handed out: nobody waits for this.
    async fn vanish(&mut self) {
        let id = self.task.record.id;
        if let Err(error) = self.task.engine.runtime.remove(id).await {
            tracing::error!(sandbox = %id, %error, "the files of an ended sandbox stay until the next start");
        }
        self.forget("").await;
    }

    async fn queue_next(&mut self) {
        if let Some(reply) = self.queue.pop_front() {
            self.run_ask(reply).await;
        }
    }

    /// Keeps files with the program, for the runs to come.
    async fn files_keep(&mut self, files: Vec<ProgramFile>) -> Result<()> {
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

    /// Stops waiting for a run that goes on, and says why to whoever asked for it.
    fn current_drop(&mut self, why: &str) {
        if let Some(current) = self.current.take() {
            current.outcome.abort();
            if let Some(reply) = current.reply {
                let _ = reply.send(Err(Error::new(ErrorKind::SandboxEnded, format!("The sandbox {why}"))));
            }
        }
    }

    /// Ends a run that goes on.
    async fn processes_end(&mut self, why: &str) -> Result<()> {
        self.current_drop(why);
        self.processes_kill().await.map(|_| ())
    }

    async fn processes_kill(&mut self) -> Result<Stats> {
        let id = self.task.record.id;
        self.task.engine.runtime.kill(id).await.map_err(Error::internal)
    }

    /// Ends it, removes everything of it, and its record.
    async fn delete(&mut self, reason: EndReason, by: &str) -> Result<()> {
        self.current_drop(&reason.to_string());
        self.task.engine.runtime.remove(self.task.record.id).await.map_err(Error::internal)?;
        self.forget(by).await;
        Ok(())
    }

    /// Removes the record and the way to this task.
    async fn forget(&mut self, by: &str) {
        let record = &self.task.record;
        let mut batch = Batch::new().sandbox_delete(record.id);
        if !self.task.record.ephemeral {
            batch = batch.event_append(event(record, "deleted", by));
        }
        let engine = &self.task.engine;
        if let Err(error) = engine.store.apply(batch).await {
            tracing::error!(sandbox = %record.id, %error, "the record of a deleted sandbox stays");
        }
        engine.registry_remove(record.id);
    }

    /// Whoever asked for a run of which nothing is kept has gone: nobody can ever have its result. Returns
    /// whether the task is done.
    async fn caller_gone(&mut self) -> bool {
        let deleted = self.delete(EndReason::Killed { by: "its caller".to_owned() }, "").await;
        if let Err(error) = &deleted {
            tracing::error!(sandbox = %self.task.record.id, ?error, "a sandbox whose caller has gone can't be ended");
        }
        deleted.is_ok()
    }

    /// The lease is over: what runs is ended and stays listed for a while; what does not run goes. Returns
    /// whether the task is done.
    async fn lease_over(&mut self) -> bool {
        if self.current.is_none() {
            return self.delete(EndReason::LeaseEnded, "lease").await.is_ok();
        }
        if let Err(error) = self.processes_end(&EndReason::LeaseEnded.to_string()).await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "a sandbox whose lease is over can't be ended");
        }
        self.log.finish();
        let retention = self.task.engine.settings.ended_retention;
        let record = &mut self.task.record;
        record.end = Some(EndReason::LeaseEnded);
        record.state = SandboxState::Terminated;
        record.ended_at = Some(Timestamp::now());
        record.lease_until = Some(later(Timestamp::now(), retention));
        if let Err(error) = self.record_write("ended", "lease").await {
            tracing::error!(sandbox = %self.task.record.id, ?error, "the end of a sandbox was not recorded");
        }
        self.queue_next().await;
        false
    }

    /// Stores the record with an event that says what happened, then shows it.
    async fn record_write(&mut self, kind: &'static str, by: &str) -> Result<()> {
        let record = &self.task.record;
        if !self.task.record.ephemeral {
            let batch = Batch::new().sandbox_update(record.clone()).event_append(event(record, kind, by));
            self.task.engine.store.apply(batch).await.map_err(Error::internal)?;
        }
        self.view.send_replace(view_of(record));
        Ok(())
    }
}

/// What the files of one program may hold together.
const PROGRAM_BYTES_MAX: u64 = 256 << 20;

pub(crate) fn event(record: &SandboxRecord, kind: &'static str, by: &str) -> Event {
    Event {
        at: Timestamp::now(),
        sandbox: Some(record.id),
        kind: format!("sandbox.{kind}"),
        actor: by.to_owned(),
        detail: serde_json::to_value(&record.end).unwrap_or_default(),
    }
}

fn end_reason(result: &ProgramResult, record: &SandboxRecord) -> EndReason {
    use protocol::agent::ExitStatus;
    let hit = |limit| result.limits_hit.contains(&limit);
    match result.status {
        _ if hit(LimitHit::Timeout) => {
            let timeout = view_of(record).program.map_or(Duration::ZERO, |program| program.timeout);
            EndReason::TimedOut { limit_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) }
        }
        Some(ExitStatus::Exited(0)) | None => EndReason::Exited { code: 0 },
        _ if hit(LimitHit::Memory) => EndReason::OutOfMemory { limit_bytes: record.limits.memory_bytes },
        Some(ExitStatus::Exited(code)) => EndReason::Exited { code },
        Some(ExitStatus::Signaled(signal)) => EndReason::Signaled { signal },
    }
}

/// How long until a moment; nothing if it is past.
fn left(until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO)
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for a future that may not be there; for ever if it is not.
async fn optional<F: Future + Unpin>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}
