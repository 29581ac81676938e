//! What the engine needs of whatever runs sandboxes. The native one is in [`crate::NativeRuntime`].

use async_trait::async_trait;
use protocol::{
    SandboxId, SnapshotId, VolumeId,
    image::{ImageDigest, ImageFacts, ImageFailure, PullProgress, RegistryLogin},
    launcher::{Found, LaunchSpec, Stats},
    policy::NetworkPolicy,
    volume::VolumeFault,
};
use tokio::{net::UnixStream, sync::watch};

use crate::machine::MachineSample;

/// Why a runtime could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A step failed; nothing was left half done.
    #[error("{step}")]
    Step {
        /// The step, with what it was done on.
        step: String,
        /// The error number of errno(3), or 0.
        errno: i32,
    },
    /// A launch failed for one of its volumes; nothing was left half done.
    #[error("{step}")]
    Volume {
        /// Which, and what is wrong with it.
        fault: VolumeFault,
        /// The step, with what it was done on.
        step: String,
        /// The error number of errno(3), or 0.
        errno: i32,
    },
    /// The storage has less room than the sandbox may fill, and got no more in time.
    #[error("the storage has {free_mb} MB free, a sandbox may need {needed_mb} MB")]
    StorageFull {
        /// What is free.
        free_mb: u64,
        /// What has to be free for a launch.
        needed_mb: u64,
    },
    /// There is no such image.
    #[error("{0}")]
    Image(ImageFailure),
    /// The sandbox has no agent to talk to: it has ended.
    #[error("the sandbox's agent can't be reached")]
    AgentGone(#[source] std::io::Error),
    /// The runtime itself is out of order.
    #[error("the runtime is out of order")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A sandbox ended that the engine did not end.
#[derive(Clone, Copy, Debug)]
pub struct Exited {
    /// Which.
    pub sandbox: SandboxId,
    /// The last it used.
    pub stats: Stats,
}

/// What a runtime tells by itself.
#[derive(Clone, Copy, Debug)]
pub enum RuntimeEvent {
    /// A sandbox ended.
    Exited(Exited),
    /// It was out of order for a while: what ended meanwhile was not told.
    Restarted,
}

/// Runs sandboxes.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Waits until the storage has room for what a sandbox may write. Not for one that was up a moment ago: it is not
    /// to end because others have filled the storage.
    async fn room_await(&self, disk_bytes: u64) -> Result<(), RuntimeError>;

    /// Starts a sandbox; its layer is made if it has none. Done when the agent is being executed.
    async fn launch(&self, spec: LaunchSpec) -> Result<(), RuntimeError>;

    /// Kills all of a sandbox and keeps its layer. Done when nothing of it runs; also if nothing did.
    async fn kill(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError>;

    /// Kills all of a sandbox and removes its layer.
    async fn remove(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError>;

    /// Stops all processes of a sandbox, their memory kept.
    async fn pause(&self, sandbox: SandboxId) -> Result<(), RuntimeError>;

    /// The reverse of pause.
    async fn resume(&self, sandbox: SandboxId) -> Result<(), RuntimeError>;

    /// Puts a network policy in force for a sandbox that runs, in the place of the one it has. A step fails with `ESRCH`
    /// when it does not run: then it is launched with it. May be done again.
    async fn network_policy_set(&self, sandbox: SandboxId, policy: NetworkPolicy)
    -> Result<(), RuntimeError>;

    /// What a sandbox uses now.
    async fn stats(&self, sandbox: SandboxId) -> Result<Stats, RuntimeError>;

    /// Keeps the state of a sandbox's layer, whether it runs or not, and with it what is to be known of it. Both are
    /// durable when done. Refused with `EDQUOT` when the layer and its snapshots hold `total_bytes` together.
    async fn snapshot_create(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        note: Vec<u8>,
        total_bytes: u64,
    ) -> Result<(), RuntimeError>;

    /// What was kept with a snapshot.
    async fn snapshot_note(&self, snapshot: SnapshotId) -> Result<Vec<u8>, RuntimeError>;

    /// Makes the layer of a sandbox that does not run what a snapshot holds. Durable when done; when it fails the
    /// layer is what it was. May be done again.
    async fn snapshot_restore(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        disk_bytes: u64,
        total_bytes: u64,
    ) -> Result<(), RuntimeError>;

    /// Removes a snapshot, if there is one.
    async fn snapshot_remove(&self, snapshot: SnapshotId) -> Result<(), RuntimeError>;

    /// Every snapshot.
    async fn snapshot_list(&self) -> Result<Vec<SnapshotId>, RuntimeError>;

    /// Makes an empty volume, unless it is there.
    async fn volume_create(&self, volume: VolumeId, bytes: u64) -> Result<(), RuntimeError>;

    /// Removes a volume, if there is one. No sandbox has it.
    async fn volume_remove(&self, volume: VolumeId) -> Result<(), RuntimeError>;

    /// Every volume.
    async fn volume_list(&self) -> Result<Vec<VolumeId>, RuntimeError>;

    /// The image that is called so here.
    async fn image_find(&self, reference: String) -> Result<ImageFacts, RuntimeError>;

    /// What an image that is here says of itself.
    async fn image_get(&self, digest: ImageDigest) -> Result<ImageFacts, RuntimeError>;

    /// Has an image downloaded and unpacked. It goes on when this is dropped.
    async fn image_pull(
        &self,
        reference: String,
        login: Option<RegistryLogin>,
        progress: Option<watch::Sender<PullProgress>>,
    ) -> Result<ImageFacts, RuntimeError>;

    /// Every sandbox of which something is there.
    async fn inventory(&self) -> Result<Vec<Found>, RuntimeError>;

    /// What the machine does at this moment that sandboxes run on.
    async fn machine(&self) -> Result<MachineSample, RuntimeError>;

    /// A new connection to a sandbox's agent.
    async fn agent_connect(&self, sandbox: SandboxId) -> Result<UnixStream, RuntimeError>;
}
