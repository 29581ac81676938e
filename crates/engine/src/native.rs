//! The native runtime: the launcher's sandboxes, their agents behind sockets in the data directory.

use async_trait::async_trait;
use jail::client::{CallError, LauncherClient};
use protocol::{
    SandboxId,
    launcher::{LaunchSpec, Stats},
};
use storage::layout::DataDir;
use tokio::{net::UnixStream, sync::mpsc};

use crate::runtime::{Exited, Runtime, RuntimeError};

/// Sandboxes on this host, through the launcher.
#[derive(Debug)]
pub struct NativeRuntime {
    launcher: LauncherClient,
    data: DataDir,
}

impl NativeRuntime {
    /// Takes the launcher's socket. The receiver gets every sandbox that ends by itself.
    ///
    /// # Errors
    /// When the socket can't be registered with the runtime.
    pub fn connect(
        launcher: std::os::fd::OwnedFd,
        data: DataDir,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Exited>)> {
        let (launcher, mut exits) = LauncherClient::connect(launcher)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(exit) = exits.recv().await {
                let _ = sender.send(Exited { sandbox: exit.sandbox, stats: exit.stats });
            }
        });
        Ok((Self { launcher, data }, receiver))
    }
}

#[async_trait]
impl Runtime for NativeRuntime {
    async fn launch(&self, spec: LaunchSpec) -> Result<(), RuntimeError> {
        let launched = self.launcher.launch(spec).await?;
        tracing::debug!(pid = launched.pid, timings = ?launched.timings, "launched");
        Ok(())
    }

    async fn kill(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        Ok(self.launcher.kill(sandbox).await?)
    }

    async fn remove(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        Ok(self.launcher.remove(sandbox).await?)
    }

    async fn stats(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        Ok(self.launcher.stats(sandbox).await?)
    }

    async fn inventory(&self) -> Result<(Vec<SandboxId>, Vec<SandboxId>), RuntimeError> {
        Ok(self.launcher.inventory().await?)
    }

    async fn agent_connect(&self, sandbox: SandboxId) -> Result<UnixStream, RuntimeError> {
        let socket = self.data.agent_socket(sandbox);
        UnixStream::connect(socket.as_path()).await.map_err(RuntimeError::AgentGone)
    }
}

impl From<CallError> for RuntimeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(failure) => Self::Step { step: failure.to_string(), errno: failure.errno },
            CallError::Gone(_) => Self::Broken(Box::new(error)),
        }
    }
}
