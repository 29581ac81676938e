//! One run of a program, from launch to result. It is a task of its own, so that the sandbox's task stays
//! free to be asked things, or to end the run.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    ExecId, SandboxId,
    agent::{ExitStatus, Stdin},
    launcher::{LaunchSpec, Stats},
    limits::Limits,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{network, user::image_user_look};
use crate::{
    Error, ErrorKind, Result, Runtime, RuntimeError, Sandbox,
    agent::{self, AgentError, Connection, ExecEvent, ExecOutput, Receiving},
    images::Base,
    log::LogStream,
    program::{
        DEV_SERVER_PORT, Job, LimitHit, Mode, ProgramResult, RunContext, Setup, file_error, not_started,
        result_of, sandbox_ended, set_up,
    },
};

/// Everything that a run needs to know.
pub(super) struct Run {
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) sandbox: SandboxId,
    /// How it is launched; none if it runs already, and is to be followed.
    pub(super) launch: Option<LaunchSpec>,
    /// Its record as it is meanwhile.
    pub(super) view: watch::Receiver<Sandbox>,
    /// The sandbox's own, over the image's.
    pub(super) env: Vec<(String, String)>,
    /// What the image gives its programs.
    pub(super) base: Arc<Base>,
    pub(super) job: Job,
    pub(super) output_bytes_max: u64,
    pub(super) retain_bytes: u64,
    /// Told when the agent can be reached; dropped if that never comes.
    pub(super) launched: watch::Sender<bool>,
}

/// What a program's standard input is, in pieces.
type Input = mpsc::Receiver<Vec<u8>>;

/// How a run ended. The sandbox may still have processes; whoever gets this ends them.
pub(super) enum Outcome {
    /// The program, or its set-up, ended.
    Ended(ProgramResult),
    /// The agent went away in the middle: what the kernel counted says why.
    AgentGone {
        /// When the run started.
        wall: Duration,
        error: Error,
    },
    /// It could not be launched.
    NotLaunched(RuntimeError),
}

/// The exec that a sandbox's program is: known without a note to a server that takes it over.
fn main_exec(sandbox: SandboxId) -> ExecId {
    ExecId::from(sandbox.uuid())
}

/// How much longer than a program's own time limit the whole run may take (of a persistent program: until it is
/// up), before its sandbox is taken for stuck: the agent ends programs by itself at their limit.
const GRACE: Duration = Duration::from_secs(10);

/// How long a persistent program without a server has to show that it does not end at once.
const SETTLE: Duration = Duration::from_millis(500);

/// How long to wait between looks whether a server is up.
const POLL: Duration = Duration::from_millis(25);

impl Run {
    /// Runs to the end. `running` is told as soon as a persistent program is up.
    pub(super) async fn outcome(mut self, running: oneshot::Sender<ProgramResult>) -> Outcome {
        let started = Instant::now();
        if let Some(launch) = &self.launch
            && let Err(error) = self.launch(launch).await
        {
            return Outcome::NotLaunched(error);
        }
        self.launched.send_replace(true);
        let input = self.job.input.take();
        match self.in_sandbox(started, running, input).await {
            Ok(result) => Outcome::Ended(result),
            Err(error) => Outcome::AgentGone { wall: started.elapsed(), error },
        }
    }

    async fn launch(&self, spec: &LaunchSpec) -> std::result::Result<(), RuntimeError> {
        self.runtime.room_await(spec.limits.disk_bytes).await?;
        network::launch(self.runtime.as_ref(), spec.clone(), &self.view).await
    }

    async fn in_sandbox(
        &self,
        started: Instant,
        running: oneshot::Sender<ProgramResult>,
        input: Option<Input>,
    ) -> Result<ProgramResult> {
        let mut connection = self.connect().await?;
        // Also if it is only followed: what it needs was made then.
        self.base.prepare(&mut connection).await?;
        let user = image_user_look(&mut connection, &self.base).await?;
        let context = RunContext {
            env: &user.environment(&self.base, &self.env),
            cwd: &self.base.cwd,
            user: (user.uid, user.gid),
            stdin: if input.is_some() { Stdin::Piped } else { Stdin::Null },
            timeout: self.job.timeout,
            output_bytes_max: self.job.stream.is_none().then_some(self.output_bytes_max),
            retain_bytes: self.retain_bytes,
        };
        let deadline = self.job.timeout + GRACE;
        let simple = self.job.plan.setup.is_empty() && self.job.mode == Mode::Oneshot;
        let (told_up, up) = oneshot::channel();
        let run = async {
            if self.launch.is_none() {
                return self.followed(&mut connection, started).await;
            }
            if simple {
                return self.simple(&mut connection, &context, started, input).await;
            }
            match set_up(&mut connection, &self.job.plan, &context, started).await? {
                Setup::Ended(result) => Ok(result),
                Setup::Ready if self.job.mode == Mode::Persistent => {
                    self.persistent(&mut connection, &context, started, told_up).await
                }
                Setup::Ready => {
                    let left = context.timeout.saturating_sub(started.elapsed());
                    let spec = context.exec_spec(main_exec(self.sandbox), &self.job.plan.main, Some(left))?;
                    agent::exec_start(&mut connection, spec).await.map_err(sandbox_ended)?;
                    self.collect(&mut connection, started, input).await
                }
            }
        };
        if self.job.mode == Mode::Oneshot {
            let ended = tokio::time::timeout(deadline, run).await;
            return ended.unwrap_or_else(|_| Ok(self.out_of_time(started, "")));
        }
        let mut run = pin!(run);
        if self.launch.is_some() {
            tokio::select! {
                ended = &mut run => return ended,
                Ok(result) = up => {
                    // Whoever asked may have gone; the program goes on all the same.
                    let _ = running.send(result);
                }
                () = tokio::time::sleep(deadline) => return Err(not_set_up(deadline)),
            }
        }
        run.await
    }

    /// The rest of a program that an earlier server started.
    async fn followed(&self, connection: &mut Connection, started: Instant) -> Result<ProgramResult> {
        agent::exec_attach(connection, main_exec(self.sandbox)).await.map_err(|error| match error {
            // Set-up is many steps, which only the server that began them knows.
            AgentError::Failed(_) => {
                let text = "The server ended before it had started the program, or had its result";
                Error::new(ErrorKind::SandboxEnded, text).caused_by(error)
            }
            other => sandbox_ended(other),
        })?;
        self.collect(connection, started, None).await
    }

    /// Files and one command, sent together.
    async fn simple(
        &self,
        connection: &mut Connection,
        context: &RunContext<'_>,
        started: Instant,
        input: Option<Input>,
    ) -> Result<ProgramResult> {
        let left = context.timeout.saturating_sub(started.elapsed());
        let spec = context.exec_spec(main_exec(self.sandbox), &self.job.plan.main, Some(left))?;
        let files = &self.job.plan.files;
        agent::files_write_and_exec_start(connection, files, spec).await.map_err(file_error)?;
        self.collect(connection, started, input).await
    }

    /// Takes what a started exec writes and how it ends.
    async fn collect(
        &self,
        connection: &mut Connection,
        started: Instant,
        input: Option<Input>,
    ) -> Result<ProgramResult> {
        if self.job.stream.is_some() {
            return self.follow_started(connection, started, input).await;
        }
        match agent::exec_collect_started(connection, self.output_bytes_max).await {
            Ok(output) => Ok(result_of(output, started, self.job.timeout)),
            Err(AgentError::Failed(failure)) => Ok(not_started(&failure.message, started)),
            Err(error) => Err(sandbox_ended(error)),
        }
    }

    /// Runs a program that stays: without a time limit once it is up.
    async fn persistent(
        &self,
        connection: &mut Connection,
        context: &RunContext<'_>,
        started: Instant,
        running: oneshot::Sender<ProgramResult>,
    ) -> Result<ProgramResult> {
        let spec = context.exec_spec(main_exec(self.sandbox), &self.job.plan.main, None)?;
        agent::exec_start(connection, spec).await.map_err(sandbox_ended)?;
        match agent::exec_started(connection).await {
            Ok(()) => {}
            Err(AgentError::Failed(failure)) => return Ok(not_started(&failure.message, started)),
            Err(error) => return Err(sandbox_ended(error)),
        }
        let mut program = pin!(self.follow_started(connection, started, None));
        tokio::select! {
            ended = &mut program => return ended,
            up = self.up(started) => if !up? {
                return Ok(self.out_of_time(started, &format!(": nothing listens on port {DEV_SERVER_PORT}")));
            },
        }
        let _ = running.send(empty(started));
        program.await
    }

    /// Joins a started exec to whoever sits at it. Its end is the end, whatever of its input it has read.
    async fn follow_started(
        &self,
        connection: &mut Connection,
        started: Instant,
        input: Option<Input>,
    ) -> Result<ProgramResult> {
        let (mut receiving, mut sending) = connection.split();
        let output = self.output_follow(&mut receiving, started);
        let Some(input) = input else { return output.await };
        let (mut output, mut input) = (pin!(output), pin!(agent::exec_input(&mut sending, input)));
        tokio::select! {
            ended = &mut output => ended,
            // An agent that is gone is told of by the other direction.
            _ = &mut input => output.await,
        }
    }

    async fn output_follow(&self, receiving: &mut Receiving<'_>, started: Instant) -> Result<ProgramResult> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let piece = match agent::exec_next(receiving).await {
                Ok(ExecEvent::Stdout(bytes)) => (LogStream::Stdout, bytes),
                Ok(ExecEvent::Stderr(bytes)) => (LogStream::Stderr, bytes),
                Ok(ExecEvent::Ended(end)) => {
                    let output = ExecOutput { stdout, stderr, end };
                    return Ok(result_of(output, started, self.job.timeout));
                }
                Err(AgentError::Failed(failure)) => return Ok(not_started(&failure.message, started)),
                Err(error) => return Err(sandbox_ended(error)),
            };
            if self.job.mode == Mode::Persistent {
                // Whoever waits for it to come up is shown what it said if it ends instead.
                tail_keep(if piece.0 == LogStream::Stdout { &mut stdout } else { &mut stderr }, &piece.1);
            }
            if let Some(stream) = &self.job.stream {
                // A reader that is gone misses it; the program goes on.
                let _ = stream.send(piece).await;
            }
        }
    }

    /// Waits until the program is up: its server answers, or it has not ended at once. `false` if its time is
    /// over before that.
    async fn up(&self, started: Instant) -> Result<bool> {
        if !self.job.dev_server {
            tokio::time::sleep(SETTLE.min(self.job.timeout)).await;
            return Ok(true);
        }
        while started.elapsed() < self.job.timeout {
            let mut connection = self.connect().await?;
            if agent::port_answers(&mut connection, DEV_SERVER_PORT).await.map_err(sandbox_ended)? {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(false)
    }

    async fn connect(&self) -> Result<Connection> {
        let socket = self.runtime.agent_connect(self.sandbox).await;
        socket.map(Connection::new).map_err(|error| {
            Error::new(ErrorKind::SandboxEnded, "The sandbox ended while the request ran").caused_by(error)
        })
    }

    /// The result of a run that was not over in time.
    fn out_of_time(&self, started: Instant, why: &str) -> ProgramResult {
        let mut result = ProgramResult { status: Some(ExitStatus::Signaled(9)), ..empty(started) };
        let limit_ms = self.job.timeout.as_millis();
        result.limit_note(LimitHit::Timeout, &format!("Execution timed out (limit {limit_ms} ms){why}"));
        result
    }
}

/// The end of a persistent program that was not up when even an agent that is slow would have told so.
fn not_set_up(deadline: Duration) -> Error {
    let text = format!(
        "The sandbox does not answer: its program was neither up nor at its end after {} ms",
        deadline.as_millis()
    );
    Error::new(ErrorKind::TimedOut, text)
}

/// Bytes of each stream of a persistent program that its result has.
const TAIL_BYTES: usize = 64 << 10;

/// Appends to output of which only the latest part is kept.
fn tail_keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    kept.extend_from_slice(bytes);
    if kept.len() > 2 * TAIL_BYTES {
        kept.drain(..kept.len() - TAIL_BYTES);
    }
}

fn empty(started: Instant) -> ProgramResult {
    ProgramResult {
        status: None,
        stdout: Vec::new(),
        stderr: Vec::new(),
        noted_bytes: 0,
        wall: started.elapsed(),
        limits_hit: Vec::new(),
    }
}

/// How near to its limit a layer has to be to be called full: the last blocks of it can't be used up.
const DISK_FULL_PER_MILLE: u64 = 970;
/// The same of what layer and snapshots may still hold together, measured by the layer's limit.
const TOTAL_LEFT_PER_MILLE: u64 = 1000 - DISK_FULL_PER_MILLE;

/// Adds the limits that only the kernel knows of.
pub(super) fn limits_note(result: &mut ProgramResult, before: &Stats, after: &Stats, limits: &Limits) {
    if after.oom_kills > before.oom_kills {
        let text = format!("Out of memory: the limit is {} MB", limits.memory_bytes >> 20);
        result.limit_note(LimitHit::Memory, &text);
    }
    if after.pids_refused > before.pids_refused {
        let text = format!("Process limit reached: at most {} processes and threads", limits.pids);
        result.limit_note(LimitHit::Processes, &text);
    }
    if after.disk_bytes.is_some_and(|bytes| bytes >= limits.disk_bytes / 1000 * DISK_FULL_PER_MILLE) {
        let text = format!("Disk full: the limit is {} MB", limits.disk_bytes >> 20);
        result.limit_note(LimitHit::Disk, &text);
    } else if after
        .total_left_bytes
        .is_some_and(|left| left <= limits.disk_bytes / 1000 * TOTAL_LEFT_PER_MILLE)
    {
        let text = "Disk full: the sandbox and its snapshots hold what they may together; delete snapshots";
        result.limit_note(LimitHit::Disk, text);
    }
}
