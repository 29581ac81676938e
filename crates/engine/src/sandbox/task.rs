//! The task that owns a sandbox: the only place where its record changes and its processes are started or
//! ended.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{agent::ExecEnd, launcher::Stats};
use store::{EndReason, SandboxRecord};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    entrypoint::Entry,
    handle::{Command, Handle, Operate},
    operation::Done,
    operations::Ongoing,
    run::Outcome,
    upload::{Uploaded, upload},
    usage::Usage,
    view_of,
};
use crate::{
    Error, ErrorKind, Result, Sandbox,
    engine::Inner,
    log::Log,
    program::{Job, OutputPiece, ProgramResult},
};

/// Everything about one sandbox.
pub(crate) struct Task {
    pub(crate) engine: Arc<Inner>,
    pub(crate) record: SandboxRecord,
    /// What to run where that is not in the store: in a sandbox of which nothing is kept.
    pub(crate) job: Option<Job>,
    /// It runs already: an earlier server launched it.
    pub(crate) runs: bool,
}

/// The run that goes on.
pub(super) struct Current {
    pub(super) outcome: JoinHandle<Outcome>,
    /// Told when a persistent program is up; gone once it was.
    pub(super) up: Option<oneshot::Receiver<ProgramResult>>,
    /// Who asked for the run; gone once answered.
    pub(super) reply: Option<oneshot::Sender<Result<ProgramResult>>>,
    /// Whether its agent can be reached; closed if it never will.
    pub(super) launched: watch::Receiver<bool>,
    /// What it writes goes to the log as it comes.
    pub(super) logged: bool,
    /// None for one that was taken over when too many ran.
    pub(super) _running: Option<OwnedSemaphorePermit>,
}

/// What the task knows. Its other parts are in `program_runs`, `operations`, `uptime`, `ending` and `recording`.
pub(super) struct State {
    pub(super) task: Task,
    pub(super) view: watch::Sender<Sandbox>,
    pub(super) log: Log,
    pub(super) output: mpsc::Sender<OutputPiece>,
    /// The run of its program.
    pub(super) current: Option<Current>,
    pub(super) queue: VecDeque<(String, oneshot::Sender<Result<ProgramResult>>)>,
    pub(super) uploads: JoinSet<Uploaded>,
    /// Whether it is up without a run.
    pub(super) up: bool,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) ongoing: Option<Ongoing>,
    pub(super) operations: VecDeque<Operate>,
    /// It ended while an operation went on.
    pub(super) exited: Option<Stats>,
    /// Its entrypoint, and how that ended while an operation went on.
    pub(super) entry: Option<Entry>,
    pub(super) entry_end: Option<ExecEnd>,
    pub(super) usage: Usage,
    /// The time in the name of the last snapshot.
    pub(super) snapshot_millis: i64,
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
        up: false,
        permit: None,
        ongoing: None,
        operations: VecDeque::new(),
        exited: None,
        entry: None,
        entry_end: None,
        usage: Usage::default(),
        snapshot_millis: 0,
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
    Done(Option<Box<Done>>),
    CallerGone,
    LeaseOver,
    EntryEnded(Option<ExecEnd>),
    Idle,
}

impl State {
    async fn serve(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        mut written: mpsc::Receiver<OutputPiece>,
    ) {
        self.resume().await;
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
                    self.log_rest(&mut written);
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
                Wake::Done(done) => self.operation_ended(done.map(|done| *done)).await,
                Wake::CallerGone => {
                    if self.caller_gone().await {
                        return;
                    }
                }
                Wake::EntryEnded(end) => {
                    self.log_rest(&mut written);
                    self.entry_ended(end).await;
                }
                Wake::Idle => self.idle().await,
                Wake::LeaseOver => {
                    if self.lease_over().await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes what was written before an end that is told already.
    fn log_rest(&mut self, written: &mut mpsc::Receiver<OutputPiece>) {
        while let Ok((stream, bytes)) = written.try_recv() {
            self.log.write(stream, &bytes);
        }
    }

    /// Takes over what an earlier server launched, and goes on with what it had begun.
    async fn resume(&mut self) {
        if self.task.runs {
            if let Err(error) = self.network_policy_enforce().await {
                tracing::error!(sandbox = %self.task.record.id, ?error, "names are not answered for a sandbox");
            }
            if self.is_kept_up() {
                self.up = true;
                // More may run than are allowed: they are not ended for that.
                let _ = self.permit_take();
                self.entry_adopt().await;
            } else if let Err(error) = self.run_adopt().await {
                tracing::error!(sandbox = %self.task.record.id, ?error, "a run can't be taken over");
            }
        }
        if let Some(pending) = self.task.record.pending.clone() {
            self.operation_resume(pending).await;
        }
    }

    async fn wake(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        written: &mut mpsc::Receiver<OutputPiece>,
    ) -> Wake {
        let lease = self.task.record.lease_until.map(|until| Instant::now() + left(until));
        let ephemeral = self.task.record.ephemeral;
        let idle = self.idle_at();
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
            Some(done) = optional(self.ongoing.as_mut().map(|ongoing| &mut ongoing.done)) => {
                Wake::Done(done.ok().map(Box::new))
            }
            Some(Ok(uploaded)) = self.uploads.join_next() => Wake::Uploaded(uploaded),
            Some(()) = optional(reply.map(|reply| Box::pin(reply.closed()))) => Wake::CallerGone,
            Some(ended) = optional(self.entry.as_mut()) => Wake::EntryEnded(ended.ok().flatten()),
            () = sleep_until(lease) => Wake::LeaseOver,
            () = sleep_until(idle) => Wake::Idle,
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Run { by, reply } => self.run_ask(by, reply).await,
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
            Command::Operate(operate) => self.operate(operate).await,
            Command::Access { reply } => self.access(reply).await,
            Command::AccessEnd => self.access_end(),
            Command::Touch { reply } => {
                self.touch().await;
                let _ = reply.send(());
            }
            Command::VariableSet { name, value, by, reply } => {
                let _ = reply.send(self.variable_set(name, value, &by).await);
            }
            Command::LeaseSet { until, by, reply } => {
                let _ = reply.send(self.lease_set(until, &by).await);
            }
            Command::MetadataPatch { patch, by, reply } => {
                let _ = reply.send(self.metadata_patch(patch, &by).await);
            }
            Command::NetworkPolicyChange { change, by, reply } => {
                let _ = reply.send(self.network_policy_change(change, &by).await);
            }
            // While a program runs, its own end tells more.
            Command::Exited(stats) => self.exited_by_itself(&stats).await,
            Command::Delete { .. } => {}
        }
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
