//! The server's end of the launcher's socket pair: each request a future, each end of a sandbox an event.

use std::{
    collections::HashMap,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use protocol::{
    SandboxId, SnapshotId, VolumeId,
    agent::ExitStatus,
    launcher::{
        Call, DATAGRAM_BYTES_MAX, Failure, Found, INVENTORY_PAGE, KnownAddress, LaunchSpec, LaunchTimings,
        Reply, Request, Stats,
    },
    policy::NetworkPolicy,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    net::UnixDatagram,
    sync::{mpsc, oneshot},
};

use crate::launcher::{Started, started_receive};

/// A handle to the launcher, for any number of tasks.
#[derive(Clone, Debug)]
pub struct LauncherClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A `SOCK_SEQPACKET` socket; the type lends it readiness and whole datagrams.
    socket: UnixDatagram,
    number_next: AtomicU64,
    waiting: Mutex<Option<Waiting>>,
}

type Waiting = HashMap<u64, oneshot::Sender<Answer>>;

type Answer = (Reply, Option<OwnedFd>);

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The launcher did not do it, and left nothing half done.
    #[error("{0}")]
    Failed(Failure),
    /// The launcher is gone.
    #[error("the launcher is gone")]
    Gone(#[source] io::Error),
}

/// A sandbox whose agent was started.
#[derive(Debug)]
pub struct Launched {
    /// The agent's process id on the host.
    pub pid: i32,
    /// Becomes readable when the sandbox has ended.
    pub pidfd: OwnedFd,
    /// Where the time went.
    pub timings: LaunchTimings,
}

/// A sandbox ended that nobody asked to end.
#[derive(Clone, Copy, Debug)]
pub struct Exited {
    /// Which.
    pub sandbox: SandboxId,
    /// How its agent left.
    pub status: Option<ExitStatus>,
    /// The last it used.
    pub stats: Stats,
}

/// Where launchers come from: the keeper's socket.
#[derive(Debug)]
pub struct Launchers(UnixDatagram);

impl Launchers {
    /// Takes the socket of [`crate::launcher::LauncherProcess::keeper`]. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket can't be registered with the runtime.
    pub fn new(keeper: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&keeper, true)?;
        Ok(Self(UnixDatagram::from_std(keeper.into())?))
    }

    /// Waits for the launcher that takes the place of one that died. `None` when there will be none.
    pub async fn next(&self) -> Option<Started> {
        let received = self.0.async_io(tokio::io::Interest::READABLE, || {
            Ok(started_receive(&self.0).map_err(|error| error.errno)?)
        });
        match received.await {
            Ok(started) => Some(started),
            Err(error) => {
                tracing::error!(%error, "there is no launcher any more; restart the server");
                None
            }
        }
    }
}

impl LauncherClient {
    /// Takes the socket of [`Started`]. Must be called within a tokio runtime. The
    /// receiver gets every unasked end of a sandbox; it closes when the launcher is gone.
    ///
    /// # Errors
    /// When the socket can't be registered with the runtime.
    pub fn connect(socket: OwnedFd) -> io::Result<(Self, mpsc::UnboundedReceiver<Exited>)> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let shared = Arc::new(Shared {
            socket: UnixDatagram::from_std(socket.into())?,
            number_next: AtomicU64::new(1),
            waiting: Mutex::new(Some(HashMap::new())),
        });
        let (exits, receiver) = mpsc::unbounded_channel();
        tokio::spawn(read(Arc::clone(&shared), exits));
        Ok((Self { shared }, receiver))
    }

    /// Whether the launcher lives, as far as is known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Starts a sandbox.
    ///
    /// # Errors
    /// The step that failed; nothing is left of the launch then.
    pub async fn launch(&self, spec: LaunchSpec) -> Result<Launched, CallError> {
        match self.call(Request::Launch(spec)).await? {
            (Reply::Launched { pid, timings, .. }, Some(pidfd)) => Ok(Launched { pid, pidfd, timings }),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops all processes of a sandbox from running; memory is kept.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn freeze(&self, sandbox: SandboxId) -> Result<(), CallError> {
        self.call_done(Request::Freeze(sandbox)).await
    }

    /// The reverse of [`Self::freeze`].
    ///
    /// # Errors
    /// The step that failed.
    pub async fn thaw(&self, sandbox: SandboxId) -> Result<(), CallError> {
        self.call_done(Request::Thaw(sandbox)).await
    }

    /// Kills everything of a sandbox; its layer stays. Returns the last it used, when nothing of it runs.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn kill(&self, sandbox: SandboxId) -> Result<Stats, CallError> {
        self.call_stats(Request::Kill(sandbox)).await
    }

    /// Kills everything of a sandbox and removes its layer. Returns the last it used.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn remove(&self, sandbox: SandboxId) -> Result<Stats, CallError> {
        self.call_stats(Request::Remove(sandbox)).await
    }

    /// What a sandbox uses now.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn stats(&self, sandbox: SandboxId) -> Result<Stats, CallError> {
        self.call_stats(Request::Stats(sandbox)).await
    }

    /// Keeps the state of a sandbox's layer under a new name, and what is to be known of it. Both are on the disk
    /// when this returns.
    ///
    /// # Errors
    /// The step that failed; there is no such snapshot then.
    pub async fn snapshot_create(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        note: Vec<u8>,
        total_bytes: u64,
    ) -> Result<(), CallError> {
        self.call_done(Request::SnapshotCreate { sandbox, snapshot, note, total_bytes }).await
    }

    /// What was kept with a snapshot.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn snapshot_note(&self, snapshot: SnapshotId) -> Result<Vec<u8>, CallError> {
        match self.call(Request::SnapshotNote(snapshot)).await? {
            (Reply::SnapshotNote { note, .. }, _) => Ok(note),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the layer of a sandbox that does not run what a snapshot holds. It is on the disk when this returns.
    ///
    /// # Errors
    /// The step that failed; the layer is what it was then.
    pub async fn snapshot_restore(
        &self,
        sandbox: SandboxId,
        snapshot: SnapshotId,
        disk_bytes: u64,
        total_bytes: u64,
    ) -> Result<(), CallError> {
        self.call_done(Request::SnapshotRestore { sandbox, snapshot, disk_bytes, total_bytes }).await
    }

    /// Removes a snapshot, if there is one.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn snapshot_remove(&self, snapshot: SnapshotId) -> Result<(), CallError> {
        self.call_done(Request::SnapshotRemove(snapshot)).await
    }

    /// Every snapshot, in the order of their ids.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn snapshot_list(&self) -> Result<Vec<SnapshotId>, CallError> {
        let mut all: Vec<SnapshotId> = Vec::new();
        loop {
            match self.call(Request::SnapshotList { after: all.last().copied() }).await? {
                (Reply::Snapshots { snapshots, .. }, _) => {
                    let last = snapshots.len() < INVENTORY_PAGE;
                    all.extend(snapshots);
                    if last {
                        return Ok(all);
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Every sandbox of which something is on the host.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn inventory(&self) -> Result<Vec<Found>, CallError> {
        let mut all: Vec<Found> = Vec::new();
        loop {
            let after = all.last().map(|found| found.sandbox);
            match self.call(Request::Inventory { after }).await? {
                (Reply::Inventory { sandboxes, .. }, _) => {
                    let last = sandboxes.len() < INVENTORY_PAGE;
                    all.extend(sandboxes);
                    if last {
                        return Ok(all);
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Puts a network policy in force for a sandbox that runs, all of it at once. Returns the sandbox's address.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn network_policy_set(
        &self,
        sandbox: SandboxId,
        policy: NetworkPolicy,
        known: Vec<KnownAddress>,
    ) -> Result<Ipv4Addr, CallError> {
        match self.call(Request::NetworkPolicySet { sandbox, policy, known }).await? {
            (Reply::NetworkPolicy { address, .. }, _) => Ok(address),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells of addresses that names have, as far as the policy of a sandbox that runs is about them.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn network_addresses(
        &self,
        sandbox: SandboxId,
        known: Vec<KnownAddress>,
    ) -> Result<(), CallError> {
        self.call_done(Request::NetworkAddresses { sandbox, known }).await
    }

    /// Makes an empty volume, unless it is there.
    ///
    /// # Errors
    /// The step that failed; there is no such volume then.
    pub async fn volume_create(&self, volume: VolumeId, bytes: u64) -> Result<(), CallError> {
        self.call_done(Request::VolumeCreate { volume, bytes }).await
    }

    /// Removes a volume, if there is one.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn volume_remove(&self, volume: VolumeId) -> Result<(), CallError> {
        self.call_done(Request::VolumeRemove(volume)).await
    }

    /// Every volume, in the order of their ids.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn volume_list(&self) -> Result<Vec<VolumeId>, CallError> {
        let mut all: Vec<VolumeId> = Vec::new();
        loop {
            match self.call(Request::VolumeList { after: all.last().copied() }).await? {
                (Reply::Volumes { volumes, .. }, _) => {
                    let last = volumes.len() < INVENTORY_PAGE;
                    all.extend(volumes);
                    if last {
                        return Ok(all);
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn call_done(&self, request: Request) -> Result<(), CallError> {
        match self.call(request).await? {
            (Reply::Done { .. }, _) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn call_stats(&self, request: Request) -> Result<Stats, CallError> {
        match self.call(request).await? {
            (Reply::Stats { stats, .. }, _) => Ok(stats),
            other => Err(unexpected(&other)),
        }
    }

    async fn call(&self, request: Request) -> Result<Answer, CallError> {
        let number = self.shared.number_next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        match &mut *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.insert(number, answer),
            None => return Err(gone()),
        };
        let bytes = postcard::to_stdvec(&Call { number, request })
            .map_err(|error| CallError::Gone(io::Error::other(error)))?;
        let sent = self.shared.socket.async_io(tokio::io::Interest::WRITABLE, || {
            let mut control = SendAncillaryBuffer::new(&mut []);
            Ok(sendmsg(&self.shared.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?)
        });
        if let Err(error) = sent.await {
            self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(CallError::Gone(error));
        }
        match answered.await {
            Ok((Reply::Failed { failure, .. }, _)) => Err(CallError::Failed(failure)),
            Ok(answer) => Ok(answer),
            Err(_) => Err(gone()),
        }
    }
}

/// Hands replies to those who wait, until the launcher is gone.
async fn read(shared: Arc<Shared>, exits: mpsc::UnboundedSender<Exited>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(Some(answer)) = receive(&shared.socket, &mut buffer).await {
        let number = match &answer.0 {
            Reply::Exited { sandbox, status, stats } => {
                let _ = exits.send(Exited { sandbox: *sandbox, status: *status, stats: *stats });
                continue;
            }
            Reply::Launched { number, .. }
            | Reply::Done { number }
            | Reply::Stats { number, .. }
            | Reply::Inventory { number, .. }
            | Reply::Snapshots { number, .. }
            | Reply::SnapshotNote { number, .. }
            | Reply::NetworkPolicy { number, .. }
            | Reply::Volumes { number, .. }
            | Reply::Failed { number, .. } => *number,
        };
        let waiting = match &mut *shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(waiting) => waiting.remove(&number),
            None => None,
        };
        if let Some(waiting) = waiting {
            // Whoever asked may have gone; a sandbox it launched is found by its record.
            let _ = waiting.send(answer);
        }
    }
    tracing::error!("the launcher is gone");
    shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
}

async fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Option<Answer>> {
    socket
        .async_io(tokio::io::Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
            if message.bytes == 0 {
                return Ok(None);
            }
            let fd = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            });
            let reply = postcard::from_bytes(&buffer[..message.bytes]).map_err(io::Error::other)?;
            Ok(Some((reply, fd)))
        })
        .await
}

fn gone() -> CallError {
    CallError::Gone(io::Error::from(io::ErrorKind::BrokenPipe))
}

fn unexpected(answer: &Answer) -> CallError {
    CallError::Gone(io::Error::other(format!("unexpected reply {:?}", answer.0)))
}
