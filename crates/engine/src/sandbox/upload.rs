//! Putting files into a sandbox that runs. Its agent may be as hostile as what runs beside it: the task that owns
//! the sandbox does not wait for it.

use std::{sync::Arc, time::Duration};

use protocol::SandboxId;
use tokio::sync::{oneshot, watch};

use crate::{
    Error, ErrorKind, Result, Runtime,
    agent::Connection,
    program::{ProgramFile, files_upload},
};

/// What an agent gets for taking files, however few they are, and more for each MiB.
const LIMIT: Duration = Duration::from_secs(30);
const LIMIT_PER_MIB: Duration = Duration::from_secs(1);

/// An upload that has ended.
pub(super) struct Uploaded {
    pub(super) files: Vec<ProgramFile>,
    pub(super) written: Result<()>,
    pub(super) reply: oneshot::Sender<Result<()>>,
}

/// Writes files as soon as the agent can be reached, if it ever can.
pub(super) async fn upload(
    runtime: Arc<dyn Runtime>,
    sandbox: SandboxId,
    mut launched: watch::Receiver<bool>,
    files: Vec<ProgramFile>,
    reply: oneshot::Sender<Result<()>>,
) -> Uploaded {
    let mib: usize = files.iter().map(|file| file.content.len() >> 20).sum();
    let limit = LIMIT + LIMIT_PER_MIB.saturating_mul(u32::try_from(mib).unwrap_or(u32::MAX));
    let write = async {
        if launched.wait_for(|launched| *launched).await.is_err() {
            return Ok(());
        }
        let socket = runtime.agent_connect(sandbox).await.map_err(|error| {
            Error::new(ErrorKind::SandboxEnded, "The sandbox ended while the request ran").caused_by(error)
        })?;
        files_upload(&mut Connection::new(socket), &files).await
    };
    let written = tokio::time::timeout(limit, write).await.unwrap_or_else(|_| {
        let text = format!("The sandbox did not take the files within {} s", limit.as_secs());
        Err(Error::new(ErrorKind::TimedOut, text))
    });
    Uploaded { files, written, reply }
}
