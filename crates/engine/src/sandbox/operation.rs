//! One operation on a sandbox that is kept up: a command, a snapshot, a restore, a wipe. It is a task of its own, so
//! that the sandbox's task stays free to be asked things, or to end it.
//!
//! It must not change the record: it tells what came of it.

use std::{sync::Arc, time::Duration, time::Instant};

use protocol::{
    ExecId, GuestPath, SnapshotId,
    agent::{ExecSpec, Stdin},
    launcher::LaunchSpec,
};
use store::{EndReason, SandboxRecord};
use tokio::sync::watch;

use super::{
    network,
    taking::Taken,
    user::{User, image_user_look, user_look},
};
use crate::{
    Archive, Error, ErrorKind, Result, RuntimeError, Sandbox,
    agent::{
        self, AgentError, Connection,
        tree::{TreeWriteError, tree_write},
    },
    engine::Inner,
    images::{ImageName, ImageSpec, image_name},
    program::{CommandSpec, ProgramResult, WORK_FOLDER, not_started, result_of, sandbox_ended},
    snapshot::SnapshotSpec,
    volumes::{volume_failed, volume_mounts},
};

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// To have it up, from this image if it is not here yet, its work folder a user's, and a snapshot if one is wanted.
    Start { image: Option<ImageSpec>, user: Option<String>, snapshot: Option<SnapshotId> },
    /// A command, and a snapshot after it if one is wanted.
    Command { exec: ExecId, user: Option<String>, command: CommandSpec, snapshot: Option<SnapshotId> },
    /// What is left of a command that was begun under an earlier server.
    CommandResume { exec: ExecId, snapshot: SnapshotId },
    /// A snapshot.
    Snapshot(SnapshotId),
    /// The state of a snapshot in the place of its own, and up again if it is one that is kept up.
    Restore { snapshot: SnapshotId, start: bool },
    /// The work folder's content replaced by an archive's, and a snapshot.
    Import { archive: Archive, snapshot: SnapshotId },
    /// The work folder emptied.
    Wipe,
    /// All its processes stopped, their memory kept.
    Pause,
    /// The reverse.
    Resume,
}

impl Work {
    /// Whether it is done inside, by the agent.
    pub(super) fn needs_agent(&self) -> bool {
        !matches!(self, Self::Snapshot(_) | Self::Restore { .. } | Self::Pause | Self::Resume)
    }

    /// The snapshot that may be there if it is broken off.
    pub(super) fn snapshot(&self) -> Option<SnapshotId> {
        match self {
            Self::Snapshot(snapshot)
            | Self::CommandResume { snapshot, .. }
            | Self::Import { snapshot, .. } => Some(*snapshot),
            Self::Command { snapshot, .. } | Self::Start { snapshot, .. } => *snapshot,
            Self::Restore { .. } | Self::Wipe | Self::Pause | Self::Resume => None,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    /// The image that it has now, if it had none yet.
    pub(super) image: Option<String>,
    /// Whether the sandbox is up now.
    pub(super) up: bool,
    /// Whether it is paused, of one that is up.
    pub(super) paused: bool,
    /// The conversation with its entrypoint, if that was started.
    pub(super) entry: Option<Connection>,
    /// Why it is not, where that is known.
    pub(super) end: Option<EndReason>,
    /// What the command gave.
    pub(super) result: Option<ProgramResult>,
    /// Whether a snapshot was taken, or why not.
    pub(super) snapshot: Option<Result<Taken>>,
    /// Why the whole is none.
    pub(super) error: Option<Error>,
}

/// How much longer than its own time limit a command may take before its sandbox is taken for stuck.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// A tar stream without entries: its end marker.
const EMPTY_TAR: [u8; 1024] = [0; 1024];
/// How long an agent may take for what it does by itself.
pub(crate) const AGENT_PATIENCE: Duration = Duration::from_secs(60);

/// What an operation needs.
pub(super) struct Operation {
    pub(super) engine: Arc<Inner>,
    pub(super) record: SandboxRecord,
    /// The record as it is meanwhile.
    pub(super) view: watch::Receiver<Sandbox>,
    /// Whether the sandbox is up.
    pub(super) up: bool,
    /// Whether it is paused.
    pub(super) paused: bool,
    /// The conversation with its entrypoint, once it was started.
    pub(super) entry: Option<Connection>,
    /// The state that its layer is made with, if it has none.
    pub(super) origin: Option<SnapshotId>,
    /// How a snapshot is called, and the latest moment that is in the name of another.
    pub(super) spec: Option<SnapshotSpec>,
    pub(super) snapshot_millis: i64,
}

impl Operation {
    /// Does it.
    pub(super) async fn perform(mut self, work: Work) -> Done {
        let mut done = Done {
            image: None,
            up: self.up,
            paused: self.paused,
            entry: None,
            end: None,
            result: None,
            snapshot: None,
            error: None,
        };
        if let Work::Start { image: Some(image), .. } = &work {
            match self.engine.image_of(image).await {
                Ok(image) => self.record.image = image.to_string(),
                Err(error) => {
                    let end = EndReason::NoImage { reason: error.public().to_owned() };
                    return Done { end: Some(end), error: Some(error), ..done };
                }
            }
            done.image = Some(self.record.image.clone());
        }
        if work.needs_agent()
            && let Err((end, error)) = self.launch().await
        {
            return Done { up: self.up, end, error: Some(error), ..done };
        }
        done.up = self.up;
        self.work(work, &mut done).await;
        (done.up, done.paused, done.entry) = (self.up, self.paused, self.entry.take());
        done
    }

    async fn work(&mut self, work: Work, done: &mut Done) {
        match work {
            Work::Start { user, snapshot, .. } => match self.begin(user.as_deref()).await {
                Ok(()) => done.snapshot = self.snapshot_if(snapshot).await,
                Err(error) => done.error = Some(error),
            },
            Work::Command { exec, user, command, snapshot } => {
                let result = self.command(exec, user.as_deref(), &command).await;
                self.finish(result, snapshot, done).await;
            }
            Work::CommandResume { exec, snapshot } => {
                self.finish(self.command_resume(exec).await, Some(snapshot), done).await;
            }
            Work::Snapshot(snapshot) => done.snapshot = self.snapshot_if(Some(snapshot)).await,
            Work::Restore { snapshot, start } => {
                if let Err((end, error)) = self.restore(snapshot, start).await {
                    (done.end, done.error) = (end, Some(error));
                }
            }
            Work::Import { archive, snapshot } => match self.import(archive).await {
                Ok(()) => done.snapshot = self.snapshot_if(Some(snapshot)).await,
                Err(error) => done.error = Some(error),
            },
            Work::Wipe => done.error = self.wipe().await.err(),
            Work::Pause => done.error = self.paused_set(true).await.err(),
            Work::Resume => done.error = self.paused_set(false).await.err(),
        }
    }

    async fn paused_set(&mut self, paused: bool) -> Result<()> {
        let (runtime, id) = (&self.engine.runtime, self.record.id);
        let set = if paused { runtime.pause(id).await } else { runtime.resume(id).await };
        set.map_err(Error::internal)?;
        self.paused = paused;
        Ok(())
    }

    async fn finish(&self, result: Result<ProgramResult>, snapshot: Option<SnapshotId>, done: &mut Done) {
        match result {
            Ok(result) => {
                done.result = Some(result);
                done.snapshot = self.snapshot_if(snapshot).await;
            }
            Err(error) => done.error = Some(error),
        }
    }

    /// Launches it unless it is up.
    async fn launch(&mut self) -> std::result::Result<(), (Option<EndReason>, Error)> {
        if self.up {
            return Ok(());
        }
        self.engine.runtime.room_await(self.record.limits.disk_bytes).await.map_err(launch_failed)?;
        self.launch_again().await
    }

    /// Launches one that was up a moment ago, or is to be as if it had been.
    async fn launch_again(&mut self) -> std::result::Result<(), (Option<EndReason>, Error)> {
        let SandboxRecord { id, limits, network, ephemeral, .. } = self.record;
        let volumes = volume_mounts(&self.record, &self.engine.settings).map_err(|error| {
            let step = error.public().to_owned();
            (Some(EndReason::LaunchFailed { step, errno: 0 }), error)
        })?;
        let spec = LaunchSpec {
            sandbox: id,
            image: image_name(&self.record.image).map_err(|error| (None, error))?,
            limits,
            network,
            ephemeral,
            origin: self.origin,
            total_bytes: self.engine.settings.total_bytes(&limits),
            network_policy: None,
            volumes,
        };
        match network::launch(self.engine.runtime.as_ref(), spec, &self.view).await {
            Ok(()) => {
                (self.up, self.paused) = (true, false);
                self.image_begin().await.map_err(|error| (None, error))?;
                self.entrypoint_begin().await
            }
            Err(error) if self.origin.is_some() && is_over_quota(&error) => {
                let text = "The fork could not be made: too much is held by the original and its snapshots to \
                            leave a fork room for its disk limit; delete some of the snapshots";
                let (end, _) = launch_failed(error);
                Err((end, Error::new(ErrorKind::Conflict, text)))
            }
            Err(RuntimeError::Volume { fault, step, errno }) => {
                let error = volume_failed(fault, &self.record).caused_by(step.clone());
                Err((Some(EndReason::LaunchFailed { step, errno }), error))
            }
            Err(error) => Err(launch_failed(error)),
        }
    }

    /// Makes what the image wants to be there, and is not.
    async fn image_begin(&self) -> Result<()> {
        if image_name(&self.record.image)? == ImageName::Host {
            return Ok(());
        }
        let base = self.engine.image_base(&self.record.image).await?;
        base.prepare(&mut self.connect().await?).await
    }

    async fn entrypoint_begin(&mut self) -> std::result::Result<(), (Option<EndReason>, Error)> {
        let Err(error) = self.entrypoint_start().await else { return Ok(()) };
        let end = EndReason::LaunchFailed { step: error.public().to_owned(), errno: 0 };
        match self.engine.runtime.kill(self.record.id).await {
            Ok(_) => self.up = false,
            Err(error) => return Err((Some(end), Error::internal(error))),
        }
        Err((Some(end), error))
    }

    pub(super) async fn connect(&self) -> Result<Connection> {
        self.engine.agent_connect(self.record.id).await
    }

    async fn ping(&self) -> Result<()> {
        let mut connection = self.connect().await?;
        patiently(agent::ping(&mut connection)).await
    }

    async fn begin(&self, user: Option<&str>) -> Result<()> {
        let mut connection = self.connect().await?;
        patiently(agent::ping(&mut connection)).await?;
        self.user(&mut connection, user).await.map(|_| ())
    }

    /// A user of the sandbox, to whom the work folder is given.
    async fn user(&self, connection: &mut Connection, user: Option<&str>) -> Result<User> {
        let Some(wanted) = user else { return Ok(User::root()) };
        let user = user_look(connection, Some(wanted)).await?;
        if user != User::root() {
            let owner = format!("{}:{}", user.uid, user.gid);
            let argv = ["chown", "-h", &owner, WORK_FOLDER].map(str::to_owned).to_vec();
            let command = CommandSpec { argv, timeout: AGENT_PATIENCE };
            let given = self.command_as(&User::root(), ExecId::random(), &command).await?;
            if !given.success() {
                return Err(said("The work folder could not be given to its user", &given));
            }
        }
        Ok(user)
    }

    async fn command(
        &self,
        exec: ExecId,
        user: Option<&str>,
        command: &CommandSpec,
    ) -> Result<ProgramResult> {
        let base = self.engine.image_base(&self.record.image).await?;
        let user = match (user, base.user.as_deref()) {
            (Some(_), _) => self.user(&mut self.connect().await?, user).await?,
            (None, None) => User::root(),
            (None, Some(_)) => image_user_look(&mut self.connect().await?, &base).await?,
        };
        self.command_as(&user, exec, command).await
    }

    async fn command_as(&self, user: &User, exec: ExecId, command: &CommandSpec) -> Result<ProgramResult> {
        let started = Instant::now();
        let settings = &self.engine.settings;
        let base = self.engine.image_base(&self.record.image).await?;
        let spec = ExecSpec {
            id: exec,
            argv: command.argv.clone(),
            env: user.environment(&base, &self.record.env),
            cwd: base.cwd.clone(),
            uid: user.uid,
            gid: user.gid,
            stdin: Stdin::Null,
            timeout_ms: Some(u64::try_from(command.timeout.as_millis()).unwrap_or(u64::MAX).max(1)),
            output_bytes_max: Some(settings.output_bytes_max),
            // Whoever it is for is gone with the server.
            retain_bytes: 0,
            terminal: None,
        };
        let mut connection = self.connect().await?;
        let collected = agent::exec_collect(&mut connection, spec, settings.output_bytes_max);
        match tokio::time::timeout(command.timeout + GRACE, collected).await {
            Ok(Ok(output)) => Ok(result_of(output, started, command.timeout)),
            Ok(Err(AgentError::Failed(failure))) => Ok(not_started(&failure.message, started)),
            Ok(Err(error)) => Err(sandbox_ended(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
        }
    }

    async fn command_resume(&self, exec: ExecId) -> Result<ProgramResult> {
        let started = Instant::now();
        let settings = &self.engine.settings;
        let mut connection = self.connect().await?;
        let collected = async {
            agent::exec_attach(&mut connection, exec).await?;
            agent::exec_collect_started(&mut connection, settings.output_bytes_max).await
        };
        match tokio::time::timeout(settings.timeout_max + GRACE, collected).await {
            Ok(Ok(output)) => Ok(result_of(output, started, settings.timeout_max)),
            // It had ended, and was collected, before the server died.
            Ok(Err(AgentError::Failed(failure))) => Ok(not_started(&failure.message, started)),
            Ok(Err(error)) => Err(sandbox_ended(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
        }
    }

    async fn restore(
        &mut self,
        snapshot: SnapshotId,
        start: bool,
    ) -> std::result::Result<(), (Option<EndReason>, Error)> {
        let id = self.record.id;
        let runtime = Arc::clone(&self.engine.runtime);
        runtime.kill(id).await.map_err(|error| (None, Error::internal(error)))?;
        self.up = false;
        let limits = &self.record.limits;
        let total_bytes = self.engine.settings.total_bytes(limits);
        let restored = runtime.snapshot_restore(id, snapshot, limits.disk_bytes, total_bytes).await;
        // Whether it was restored or is what it was: it goes on.
        let launched = if start { self.launch_again().await } else { Ok(()) };
        restored.map_err(|error| {
            let text = "The snapshot could not be restored; the sandbox is as it was";
            (None, Error::new(ErrorKind::Unavailable, text).caused_by(error))
        })?;
        launched?;
        if start {
            self.ping().await.map_err(|error| (None, error))?;
        }
        Ok(())
    }

    /// Replaces the content of the work folder by none. No program of the sandbox is asked to: it may be gone, or be
    /// another.
    async fn wipe(&self) -> Result<()> {
        let path = GuestPath::absolute(WORK_FOLDER).map_err(Error::internal)?;
        let written = tree_write(self.connect().await?, path, None, true, EMPTY_TAR.as_slice());
        match tokio::time::timeout(AGENT_PATIENCE, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TreeWriteError::Agent(AgentError::Failed(failure)))) => {
                let text = format!("The work folder could not be emptied: {}", failure.message);
                Err(Error::new(ErrorKind::Refused, text))
            }
            Ok(Err(TreeWriteError::Agent(error))) => Err(sandbox_ended(error)),
            Ok(Err(TreeWriteError::Content(error))) => Err(Error::internal(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
        }
    }
}

/// What a command of ours that failed said about it.
fn said(what: &str, result: &ProgramResult) -> Error {
    let text = String::from_utf8_lossy(&result.stderr);
    let first = text.lines().next().unwrap_or("it ended without a word");
    Error::new(ErrorKind::Refused, format!("{what}: {first}"))
}

/// `EDQUOT` of errno(3).
const OVER_QUOTA: i32 = 122;

/// Whether it failed because the sandbox and its snapshots hold all that they may.
pub(super) fn is_over_quota(error: &RuntimeError) -> bool {
    matches!(error, RuntimeError::Step { errno, .. } if *errno == OVER_QUOTA)
}

async fn patiently<T>(asked: impl Future<Output = std::result::Result<T, AgentError>>) -> Result<T> {
    match tokio::time::timeout(AGENT_PATIENCE, asked).await {
        Ok(answer) => answer.map_err(sandbox_ended),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
    }
}

/// Why a sandbox could not be launched, for the record and for the client.
pub(crate) fn launch_failed(error: RuntimeError) -> (Option<EndReason>, Error) {
    let (step, errno) = match &error {
        RuntimeError::Step { step, errno } => (step.clone(), *errno),
        other => (other.to_string(), 0),
    };
    let public = match error {
        RuntimeError::StorageFull { .. } => {
            let text = "The storage is full; delete sandboxes, or give the server more";
            Error::new(ErrorKind::Unavailable, text)
        }
        _ => Error::new(ErrorKind::LaunchFailed, "The sandbox could not be launched"),
    };
    (Some(EndReason::LaunchFailed { step, errno }), public.caused_by(error))
}
