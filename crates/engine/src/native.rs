//! The native runtime: the launcher's sandboxes, their agents behind sockets in the data directory.
//!
//! A launcher that dies is followed by another one. What was asked of the old one is asked again of the new one,
//! where asking twice does no harm.

mod link;
mod machine;
mod names;
mod room;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use jail::{
    client::{CallError, LauncherClient, Launchers},
    launcher::LauncherProcess,
};
use protocol::{
    SandboxId, SnapshotId, VolumeId,
    image::{ImageDigest, ImageFacts, PullProgress, RegistryLogin},
    launcher::{Found, LaunchSpec, Stats},
    policy::NetworkPolicy,
};
use storage::layout::DataDir;
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
};

use self::{
    link::{ATTEMPTS, Link},
    names::Names,
};
use crate::machine::MachineSample;
use crate::runtime::{Exited, Runtime, RuntimeError, RuntimeEvent};

/// Sandboxes on this host, through the launcher.
pub struct NativeRuntime {
    link: Link,
    /// None where sandboxes have no network.
    names: Option<Arc<Names>>,
    data: DataDir,
}

impl fmt::Debug for NativeRuntime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("NativeRuntime").field("data", &self.data).finish_non_exhaustive()
    }
}

impl NativeRuntime {
    /// Takes the launcher, and its keeper's word for the next ones. The receiver gets every sandbox that ends by
    /// itself, and every change of the launcher.
    ///
    /// # Errors
    /// When the sockets can't be registered with tokio.
    pub fn connect(
        process: LauncherProcess,
        data: DataDir,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<RuntimeEvent>)> {
        let launchers = Launchers::new(process.keeper)?;
        let (client, exits) = LauncherClient::connect(process.launcher.socket)?;
        let (launcher, seen) = watch::channel(Some(client));
        let (events, receiver) = mpsc::unbounded_channel();
        tokio::spawn(launchers_follow(launchers, launcher, exits, events));
        let link = Link(seen);
        let names = process.resolver.map(|resolver| Names::start(link.clone(), resolver)).transpose()?;
        Ok((Self { link, names, data }, receiver))
    }

    /// Asks the launcher, and its successors if it dies over it.
    async fn ask<T, F>(&self, ask: impl Fn(LauncherClient) -> F) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        self.link.ask(ask).await
    }

    /// Forgets what was known of a sandbox that is about to end.
    fn names_forget(&self, sandbox: SandboxId) {
        if let Some(names) = &self.names {
            names.forget(sandbox);
        }
    }
}

/// Passes on what launchers tell, one after the other.
async fn launchers_follow(
    launchers: Launchers,
    current: watch::Sender<Option<LauncherClient>>,
    mut exits: mpsc::UnboundedReceiver<jail::client::Exited>,
    events: mpsc::UnboundedSender<RuntimeEvent>,
) {
    loop {
        while let Some(exit) = exits.recv().await {
            let exited = Exited { sandbox: exit.sandbox, stats: exit.stats };
            let _ = events.send(RuntimeEvent::Exited(exited));
        }
        current.send_replace(None);
        let Some(started) = launchers.next().await else { return };
        match LauncherClient::connect(started.socket) {
            Ok((client, next_exits)) => {
                tracing::warn!(launcher = started.pid, "another launcher took over");
                exits = next_exits;
                current.send_replace(Some(client));
                let _ = events.send(RuntimeEvent::Restarted);
            }
            Err(error) => {
                tracing::error!(%error, "the launcher's socket can't be used");
                return;
            }
        }
    }
}

#[async_trait]
impl Runtime for NativeRuntime {
    async fn room_await(&self, disk_bytes: u64) -> Result<(), RuntimeError> {
        room::room_await(&self.data, disk_bytes).await
    }

    async fn machine(&self) -> Result<MachineSample, RuntimeError> {
        machine::machine_read(&self.data).map_err(|error| RuntimeError::Broken(error.into()))
    }

    async fn launch(&self, spec: LaunchSpec) -> Result<(), RuntimeError> {
        let mut attempts = 0;
        let launched = loop {
            attempts += 1;
            match self.link.launcher().await?.launch(spec.clone()).await {
                // It may run: then it was not told, and is begun anew. What nothing is kept of begins with nothing.
                Err(CallError::Gone(_)) if attempts < ATTEMPTS => {
                    let ended =
                        if spec.ephemeral { self.remove(spec.sandbox) } else { self.kill(spec.sandbox) };
                    ended.await?;
                }
                launched => break launched?,
            }
        };
        tracing::debug!(pid = launched.pid, timings = ?launched.timings, "launched");
        let Some(policy) = spec.network_policy else { return Ok(()) };
        // It is in force already; what is missing is who answers for names.
        let set = self.network_policy_set(spec.sandbox, policy).await;
        if set.is_err() {
            self.kill(spec.sandbox).await?;
        }
        set
    }

    async fn network_policy_set(
        &self,
        sandbox: SandboxId,
        policy: NetworkPolicy,
    ) -> Result<(), RuntimeError> {
        match &self.names {
            Some(names) => names.policy_set(sandbox, policy).await,
            None => Err(RuntimeError::Broken(
                "this host has no networks for sandboxes; see `atoll doctor`".into(),
            )),
        }
    }

    async fn kill(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        self.names_forget(sandbox);
        self.ask(|launcher| async move { launcher.kill(sandbox).await }).await
    }

    async fn remove(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        self.names_forget(sandbox);
        self.ask(|launcher| async move { launcher.remove(sandbox).await }).await
    }

    async fn pause(&self, sandbox: SandboxId) -> Result<(), RuntimeError> {
        self.ask(|launcher| async move { launcher.freeze(sandbox).await }).await
    }

    async fn resume(&self, sandbox: SandboxId) -> Result<(), RuntimeError> {
        self.ask(|launcher| async move { launcher.thaw(sandbox).await }).await
    }

    async fn stats(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError> {
        self.ask(|launcher| async move { launcher.stats(sandbox).await }).await
    }

    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError> {
        self.ask(|launcher| async move { launcher.inventory().await }).await
    }

    async fn snapshot_note(&self, snapshot: SnapshotId) -> Result<Vec<u8>, RuntimeError> {
        self.ask(|launcher| async move { launcher.snapshot_note(snapshot).await }).await
    }

    async fn snapshot_create(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        note: Vec<u8>,
        total_bytes: u64,
    ) -> Result<(), RuntimeError> {
        room::room_check(&self.data)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let launcher = self.link.launcher().await?;
            match launcher.snapshot_create(sandbox, snapshot, note.clone(), total_bytes).await {
                // It may have been made: what is there is of no known moment.
                Err(CallError::Gone(_)) if attempts < ATTEMPTS => self.snapshot_remove(snapshot).await?,
                taken => return Ok(taken?),
            }
        }
    }

    async fn snapshot_restore(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        disk_bytes: u64,
        total_bytes: u64,
    ) -> Result<(), RuntimeError> {
        let restore = |launcher: LauncherClient| async move {
            launcher.snapshot_restore(sandbox, snapshot, disk_bytes, total_bytes).await
        };
        self.ask(restore).await
    }

    async fn snapshot_remove(&self, snapshot: SnapshotId) -> Result<(), RuntimeError> {
        self.ask(|launcher| async move { launcher.snapshot_remove(snapshot).await }).await
    }

    async fn snapshot_list(&self) -> Result<Vec<SnapshotId>, RuntimeError> {
        self.ask(|launcher| async move { launcher.snapshot_list().await }).await
    }

    async fn volume_create(&self, volume: VolumeId, bytes: u64) -> Result<(), RuntimeError> {
        room::room_check(&self.data)?;
        self.ask(|launcher| async move { launcher.volume_create(volume, bytes).await }).await
    }

    async fn volume_remove(&self, volume: VolumeId) -> Result<(), RuntimeError> {
        self.ask(|launcher| async move { launcher.volume_remove(volume).await }).await
    }

    async fn volume_list(&self) -> Result<Vec<VolumeId>, RuntimeError> {
        self.ask(|launcher| async move { launcher.volume_list().await }).await
    }

    async fn image_find(&self, reference: String) -> Result<ImageFacts, RuntimeError> {
        self.ask(|launcher| {
            let reference = reference.clone();
            async move { launcher.image_find(reference).await }
        })
        .await
    }

    async fn image_get(&self, digest: ImageDigest) -> Result<ImageFacts, RuntimeError> {
        self.ask(|launcher| async move { launcher.image_get(digest).await }).await
    }

    async fn image_pull(
        &self,
        reference: String,
        login: Option<RegistryLogin>,
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<ImageFacts, RuntimeError> {
        self.ask(|launcher| {
            let (reference, login, progress) = (reference.clone(), login.clone(), progress.clone());
            async move { launcher.image_pull(reference, login, progress).await }
        })
        .await
    }

    async fn agent_connect(&self, sandbox: SandboxId) -> Result<UnixStream, RuntimeError> {
        let socket = self.data.agent_socket(sandbox);
        UnixStream::connect(socket.as_path()).await.map_err(RuntimeError::AgentGone)
    }
}

impl From<CallError> for RuntimeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(failure) => {
                let (step, errno) = (failure.to_string(), failure.errno);
                match failure.volume {
                    Some(fault) => Self::Volume { fault, step, errno },
                    None => Self::Step { step, errno },
                }
            }
            CallError::Image(failure) => Self::Image(failure),
            CallError::Gone(_) => Self::Broken(Box::new(error)),
        }
    }
}
