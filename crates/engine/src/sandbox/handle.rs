//! How the rest of the engine reaches the task that owns a sandbox.

use protocol::SandboxId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Error, Result, Sandbox,
    log::LogLine,
    program::{ProgramFile, ProgramResult},
};

/// What the task can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the program.
    Run { reply: oneshot::Sender<Result<ProgramResult>> },
    /// Put files into it.
    FilesWrite { files: Vec<ProgramFile>, reply: oneshot::Sender<Result<()>> },
    /// The latest lines of output.
    LogTail { lines: usize, reply: oneshot::Sender<Vec<LogLine>> },
    /// End it and forget it.
    Delete { by: String, reply: oneshot::Sender<Result<()>> },
    /// All its processes have ended by themselves.
    Exited,
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
