//! A snapshot's work folder as an archive. Its files are read as any file of a sandbox is: inside one. That is a sandbox
//! of its own, which nobody else ever sees, so that the one that the snapshot is of is neither waited for nor disturbed.

use std::{
    collections::HashSet,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use jiff::Timestamp;
use protocol::{
    GuestPath, SandboxId, SnapshotId,
    agent::Failure,
    launcher::{ImageName, LaunchSpec, NetworkMode},
};
use store::{Batch, SandboxRecord, SandboxState};
use tokio::{
    io::AsyncReadExt,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::{
    Caller, Engine, Error, ErrorKind, Result,
    agent::{
        AgentError, Connection,
        limit::{Limited, TooLarge},
        tree::tree_read,
        zstd,
    },
    archive::{ARCHIVE_TIME_MAX, tar_bytes_max},
    engine::Inner,
    program::{WORK_FOLDER, sandbox_ended},
    sandbox::{event, launch_failed},
};

/// Exports at once: each compresses, and holds a few MB for it.
const EXPORTS_MAX: usize = 64;
/// How long an agent may take for the next piece.
const STALL_MAX: Duration = Duration::from_secs(60);
/// One piece of an archive.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for whoever reads.
const PIECES: usize = 2;
/// What may be written in a sandbox that is only read.
const DISK_BYTES: u64 = 64 << 20;

/// The sandboxes that exports run in.
pub(crate) struct Exports {
    sandboxes: Mutex<HashSet<SandboxId>>,
    permits: Arc<Semaphore>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { sandboxes: Mutex::default(), permits: Arc::new(Semaphore::new(EXPORTS_MAX)) }
    }
}

impl Exports {
    fn sandboxes(&self) -> MutexGuard<'_, HashSet<SandboxId>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is one of them.
    pub(crate) fn contains(&self, sandbox: SandboxId) -> bool {
        self.sandboxes().contains(&sandbox)
    }
}

/// The archive of a snapshot, as it is made: a tar stream in a zstd frame. No more of it is made than is taken. It is
/// whole if it ends without an error; when it is dropped its making ends.
#[derive(Debug)]
pub struct SnapshotArchive {
    first: Option<Bytes>,
    /// An empty piece is the end: that nothing comes any more is none.
    pieces: mpsc::Receiver<Result<Bytes>>,
    ended: bool,
}

impl Stream for SnapshotArchive {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let piece = match this.first.take() {
            Some(first) => Ok(first),
            None => ready!(this.pieces.poll_recv(context)).unwrap_or_else(|| Err(broken_off())),
        };
        this.ended = piece.as_ref().map_or(true, Bytes::is_empty);
        Poll::Ready((!piece.as_ref().is_ok_and(Bytes::is_empty)).then_some(piece))
    }
}

fn broken_off() -> Error {
    Error::internal("an export's task ended without an end")
}

impl Engine {
    /// The archive of what the work folder held when this snapshot was taken.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Busy`], [`ErrorKind::LaunchFailed`], [`ErrorKind::Unavailable`]. What goes
    /// wrong later is an error of the archive.
    pub async fn snapshot_export(
        &self,
        caller: &Caller,
        id: SandboxId,
        name: &str,
    ) -> Result<SnapshotArchive> {
        let taken = self.snapshot_list(caller, id).await?;
        let origin = taken.iter().find(|taken| taken.name == name).ok_or_else(Error::snapshot_not_found)?.id;
        let original = self.inner.store.sandbox_get(id).await.map_err(Error::internal)?;
        let permits = self.permits_take()?;
        let bytes_max = tar_bytes_max(original.limits.disk_bytes);
        let mut told = event(&original, "exported", &caller.owner);
        told.detail = serde_json::json!({ "snapshot": origin, "name": name });
        let begun = Batch::new().event_append(told);
        let record = record(caller, original);
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let export =
            Export { engine: Arc::clone(&self.inner), of: id, record, origin, bytes_max, _permits: permits };
        // A task of its own: whatever becomes of the request, what it launched is removed.
        tokio::spawn(export.run(begun, sender));
        let first = pieces.recv().await.unwrap_or_else(|| Err(broken_off()))?;
        Ok(SnapshotArchive { first: Some(first), pieces, ended: false })
    }

    fn permits_take(&self) -> Result<[OwnedSemaphorePermit; 2]> {
        let busy = |text: String| Error::new(ErrorKind::Busy { retry_after_s: 1 }, text);
        let exporting = Arc::clone(&self.inner.exports.permits).try_acquire_owned();
        let exporting = exporting
            .map_err(|_| busy(format!("Too many exports at once (at most {EXPORTS_MAX}); try again")))?;
        let most = self.inner.settings.running_max;
        let running = Arc::clone(&self.inner.running).try_acquire_owned();
        let running =
            running.map_err(|_| busy(format!("Too many sandboxes run at once (at most {most})")))?;
        Ok([exporting, running])
    }
}

/// The record of the sandbox in which the files of another are read.
fn record(caller: &Caller, original: SandboxRecord) -> SandboxRecord {
    let mut limits = original.limits;
    limits.disk_bytes = limits.disk_bytes.min(DISK_BYTES);
    let now = Timestamp::now();
    SandboxRecord {
        id: SandboxId::random(),
        owner: caller.owner.clone(),
        name: None,
        number: None,
        ordinal: None,
        state: SandboxState::Running,
        created_at: now,
        started_at: Some(now),
        ended_at: None,
        lease_until: None,
        end: None,
        network: NetworkMode::None,
        network_policy: None,
        volumes: Vec::new(),
        limits,
        env: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
        program: None,
        ephemeral: true,
        last_result: None,
        pending: None,
        entrypoint: None,
        details: None,
        ..original
    }
}

/// An export under way.
struct Export {
    engine: Arc<Inner>,
    /// The sandbox whose snapshot it is.
    of: SandboxId,
    /// The one in which it is read.
    record: SandboxRecord,
    origin: SnapshotId,
    bytes_max: u64,
    _permits: [OwnedSemaphorePermit; 2],
}

/// Where an archive goes.
type Pieces = mpsc::Sender<Result<Bytes>>;

impl Export {
    /// Makes the archive, until it is whole or nobody takes it any more, and removes what it was made in.
    async fn run(self, begun: Batch, pieces: Pieces) {
        let id = self.record.id;
        self.engine.exports.sandboxes().insert(id);
        let made = match self.launch(begun).await {
            Ok(()) => tokio::select! {
                () = pieces.closed() => Ok(()),
                made = timeout(ARCHIVE_TIME_MAX, self.pieces_send(&pieces)) => made.unwrap_or_else(|_| {
                    let minutes = ARCHIVE_TIME_MAX.as_secs() / 60;
                    let text = format!("The archive was not taken within {minutes} minutes");
                    Err(Error::new(ErrorKind::TimedOut, text))
                }),
            },
            Err(error) => Err(error),
        };
        self.remove().await;
        // Whoever waits may be gone.
        let _ = pieces.send(made.map(|()| Bytes::new())).await;
    }

    /// Puts the sandbox on record and launches it. Not to be broken off: what a launch leaves is known at its end.
    async fn launch(&self, begun: Batch) -> Result<()> {
        let record = &self.record;
        let batch = begun.sandbox_insert(record.clone(), None);
        self.engine.store.apply(batch).await.map_err(Error::internal)?;
        let spec = LaunchSpec {
            sandbox: record.id,
            image: ImageName::Host,
            limits: record.limits,
            network: record.network,
            ephemeral: true,
            origin: Some(self.origin),
            total_bytes: self.engine.settings.total_bytes(&record.limits),
            network_policy: None,
            volumes: Vec::new(),
        };
        let Err(error) = self.engine.runtime.launch(spec).await else { return Ok(()) };
        let taken = self.engine.store.snapshot_list(self.of).await.map_err(Error::internal)?;
        if taken.iter().any(|taken| taken.id == self.origin) {
            Err(launch_failed(error).1)
        } else {
            // It went between the look and the launch.
            Err(Error::snapshot_not_found())
        }
    }

    async fn pieces_send(&self, pieces: &Pieces) -> Result<()> {
        let path = GuestPath::absolute(WORK_FOLDER).map_err(Error::internal)?;
        let socket = self.engine.runtime.agent_connect(self.record.id).await.map_err(Error::internal)?;
        let reading = timeout(STALL_MAX, tree_read(Connection::new(socket), path)).await;
        let tar = reading.map_err(|_| stalled())?.map_err(agent_error)?;
        let mut packed = zstd::compress(Limited::new(tar, self.bytes_max));
        loop {
            // Whole ones: what goes wrong before the first is full is an answer, and no archive that breaks off.
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            while piece.len() < PIECE_BYTES {
                let read = timeout(STALL_MAX, packed.read_buf(&mut piece)).await.map_err(|_| stalled())?;
                if read.map_err(read_error)? == 0 {
                    break;
                }
            }
            if piece.is_empty() {
                return Ok(());
            }
            if pieces.send(Ok(piece.freeze())).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Removes all of the sandbox. What stays is found at the next start.
    async fn remove(&self) {
        let id = self.record.id;
        if let Err(error) = self.engine.runtime.remove(id).await {
            tracing::error!(sandbox = %id, %error, "the sandbox of an export stays until the next start");
        }
        let forgotten = Batch::new().sandbox_delete(id);
        if let Err(error) = self.engine.store.apply(forgotten).await {
            tracing::error!(sandbox = %id, %error, "the record of an export stays until the next start");
        }
        self.engine.exports.sandboxes().remove(&id);
    }
}

fn stalled() -> Error {
    Error::new(ErrorKind::TimedOut, "The sandbox that the snapshot is read in does not answer")
}

fn read_error(error: io::Error) -> Error {
    let inner = error.get_ref();
    if let Some(TooLarge { bytes_max }) = inner.and_then(|inner| inner.downcast_ref()) {
        let text = format!("The snapshot's files make an archive of more than {bytes_max} bytes");
        return Error::new(ErrorKind::Conflict, text);
    }
    match inner.and_then(|inner| inner.downcast_ref()) {
        Some(AgentError::Failed(failure)) => unreadable(failure),
        _ => Error::new(ErrorKind::SandboxEnded, "The sandbox ended while the request ran").caused_by(error),
    }
}

fn agent_error(error: AgentError) -> Error {
    match &error {
        AgentError::Failed(failure) => unreadable(failure),
        _ => sandbox_ended(error),
    }
}

/// Files that can't be read, or that no archive can hold.
fn unreadable(failure: &Failure) -> Error {
    Error::new(ErrorKind::Conflict, format!("The snapshot can't be exported: {}", failure.message))
}
