//! How the rest of the engine reaches the task that owns a sandbox.

use std::collections::BTreeMap;

use jiff::Timestamp;
use protocol::{
    SandboxId, SnapshotId,
    launcher::Stats,
    policy::{NetworkPolicy, Rule},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Archive, Error, ImageSpec, Result, Sandbox, Snapshot, VariableNote,
    log::LogLine,
    program::{CommandSpec, ProgramFile, ProgramResult},
    snapshot::SnapshotSpec,
};

/// What the task can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the program.
    Run { by: String, reply: oneshot::Sender<Result<ProgramResult>> },
    /// Put files into it.
    FilesWrite { files: Vec<ProgramFile>, reply: oneshot::Sender<Result<()>> },
    /// The latest lines of output.
    LogTail { lines: usize, reply: oneshot::Sender<Vec<LogLine>> },
    /// End it and forget it.
    Delete { by: String, reply: oneshot::Sender<Result<()>> },
    /// Do something with one that is kept up.
    Operate(Operate),
    /// Somebody begins to use it: what it takes to be used is done first.
    Access { reply: oneshot::Sender<Result<()>> },
    /// Somebody asked for it, which counts as use and takes nothing to be done.
    Touch { reply: oneshot::Sender<()> },
    /// Somebody does not use it any more: one for each `Access`, however that was answered.
    AccessEnd,
    /// Have its lease end at another time.
    LeaseSet { until: Timestamp, by: String, reply: oneshot::Sender<Result<()>> },
    /// Change words of its metadata, or take them away.
    MetadataPatch { patch: BTreeMap<String, Option<String>>, by: String, reply: oneshot::Sender<Result<()>> },
    /// Set a variable of its environment.
    VariableSet { name: String, value: String, by: String, reply: oneshot::Sender<Result<VariableNote>> },
    /// Change whom it may reach.
    NetworkPolicyChange { change: PolicyChange, by: String, reply: oneshot::Sender<Result<NetworkPolicy>> },
    /// All its processes have ended by themselves.
    Exited(Stats),
}

/// How a network policy is to change.
#[derive(Debug)]
pub(crate) enum PolicyChange {
    /// To this one.
    Replace(NetworkPolicy),
    /// By these rules, in front.
    Patch(Vec<Rule>),
    /// By taking away the rules about these targets.
    Remove(Vec<protocol::policy::Target>),
}

/// An operation that somebody asks for.
#[derive(Debug)]
pub(crate) struct Operate {
    /// Who.
    pub(crate) by: String,
    pub(crate) what: What,
}

/// What the task can be asked to do with a sandbox that is kept up. One follows the other.
#[derive(Debug)]
pub(crate) enum What {
    /// Have it up, its work folder this user's, and take a snapshot if one is wanted; from this image, which is
    /// pulled first, if there is one.
    Start {
        image: Option<ImageSpec>,
        user: Option<String>,
        snapshot: Option<SnapshotSpec>,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Run a command in it as this user, and take a snapshot after it if one is wanted.
    Command {
        user: Option<String>,
        command: CommandSpec,
        snapshot: Option<SnapshotSpec>,
        reply: oneshot::Sender<Result<CommandOutcome>>,
    },
    /// Take a snapshot.
    Snapshot { spec: SnapshotSpec, reply: oneshot::Sender<Result<Snapshot>> },
    /// Replace its files by a snapshot's. Which that is, and which come later and go then, is looked for when it is
    /// its turn: what goes before may take some.
    Restore { target: Target, later_dropped: bool, reply: oneshot::Sender<Result<()>> },
    /// Replace what is in its work folder by an archive's content, and take a snapshot.
    Import { archive: Archive, spec: SnapshotSpec, reply: oneshot::Sender<Result<Snapshot>> },
    /// Empty its work folder.
    Wipe { reply: oneshot::Sender<Result<()>> },
    /// Stop all its processes, their memory kept.
    Pause { reply: oneshot::Sender<Result<()>> },
    /// The reverse; whether one that runs will do as well.
    Resume { or_running: bool, reply: oneshot::Sender<Result<()>> },
}

/// A snapshot of the sandbox.
#[derive(Debug)]
pub(crate) enum Target {
    /// The one with this identifier.
    Id(SnapshotId),
    /// The one with this name.
    Name(String),
}

impl Operate {
    /// Answers with an error.
    pub(crate) fn refuse(self, error: Error) {
        match self.what {
            What::Start { reply, .. }
            | What::Restore { reply, .. }
            | What::Wipe { reply }
            | What::Pause { reply }
            | What::Resume { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            What::Command { reply, .. } => drop(reply.send(Err(error))),
            What::Snapshot { reply, .. } | What::Import { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// What a command gave, and the snapshot after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutcome {
    /// What the command gave.
    pub result: ProgramResult,
    /// The snapshot, if one was wanted.
    pub snapshot: Option<Snapshot>,
}

/// The way to a sandbox's task.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) view: watch::Receiver<Sandbox>,
}

impl Handle {
    /// Sends a command and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        sandbox: SandboxId,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| Error::sandbox_not_found(sandbox))?;
        // A task that ends without an answer has just deleted its sandbox.
        answer.await.map_err(|_| Error::sandbox_not_found(sandbox))
    }
}
