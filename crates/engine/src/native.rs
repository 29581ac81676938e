//! The native runtime: the launcher's sandboxes, their agents behind sockets in the data directory.

use std::time::Duration;

use async_trait::async_trait;
use jail::client::{CallError, LauncherClient};
use protocol::{
    SandboxId,
    launcher::{Found, LaunchSpec, Stats},
};
use storage::{layout::DataDir, pool::pool_space};
use tokio::{net::UnixStream, sync::mpsc, time::Instant};

use crate::runtime::{Exited, Runtime, RuntimeError};

/// How long a launch waits for room in the storage, and how often it looks.
const ROOM_PATIENCE: Duration = Duration::from_secs(15);
const ROOM_POLL: Duration = Duration::from_millis(100);
/// A launch never needs more than this part of the storage to be free, whatever its sandbox may write.
const ROOM_SHARE: u64 = 16;

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

impl NativeRuntime {
    /// Waits until the storage has room for what a sandbox may write. Quotas together may be more than it holds;
    /// this keeps one after another from filling it. What a removed sandbox held comes back only after a while
    /// (btrfs frees it in the background), which is what is waited for.
    async fn room_await(&self, disk_bytes: u64) -> Result<(), RuntimeError> {
        let give_up = Instant::now() + ROOM_PATIENCE;
        loop {
            let Ok(space) = pool_space(&self.data) else { return Ok(()) };
            let needed = disk_bytes.min(space.total_bytes / ROOM_SHARE);
            if space.free_bytes >= needed {
                return Ok(());
            }
            if Instant::now() >= give_up {
                let (free_mb, needed_mb) = (space.free_bytes >> 20, needed >> 20);
                return Err(RuntimeError::StorageFull { free_mb, needed_mb });
            }
            tokio::time::sleep(ROOM_POLL).await;
        }
    }
}

#[async_trait]
impl Runtime for NativeRuntime {
    async fn launch(&self, spec: LaunchSpec) -> Result<(), RuntimeError> {
        self.room_await(spec.limits.disk_bytes).await?;
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

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
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
