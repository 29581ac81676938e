//! A worker: a child of the launcher that does one piece of work on a layer after the other, and waits for the disk
//! in its place. It ends with the launcher.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use protocol::{
    SandboxId, SnapshotId,
    launcher::{Failure, Reply},
};
use rustix::{
    net::{
        AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
        socketpair,
    },
    process::{Signal, WaitId, WaitIdOptions, getpid, getppid, set_parent_process_death_signal, waitid},
};
use serde::{Deserialize, Serialize};

use super::{calls, layer::Layers};
use crate::{
    failure::{Step, StepError},
    sys,
};

/// Larger than any work, and any word on it.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Work on a layer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LayerWork {
    /// [`Layers::snapshot_create`].
    SnapshotCreate { sandbox: SandboxId, snapshot: SnapshotId, note: Vec<u8>, total_bytes: u64 },
    /// [`Layers::snapshot_restore`].
    SnapshotRestore { sandbox: SandboxId, snapshot: SnapshotId, disk_bytes: u64, total_bytes: Option<u64> },
}

/// Work given to a worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) work: LayerWork,
    /// The server's request that is answered when the work is done: by the worker, so that the answer does not wait
    /// until the launcher has the time.
    pub(super) answers: Option<u64>,
}

impl LayerWork {
    fn perform(&self, layers: &Layers) -> Result<(), StepError> {
        match self {
            Self::SnapshotCreate { sandbox, snapshot, note, total_bytes } => {
                layers.snapshot_create(*sandbox, *snapshot, note, *total_bytes)
            }
            Self::SnapshotRestore { sandbox, snapshot, disk_bytes, total_bytes } => {
                layers.snapshot_restore(*sandbox, *snapshot, *disk_bytes, *total_bytes)
            }
        }
    }
}

/// A worker, as the launcher sees it. Dropping it ends it.
pub(super) struct Worker {
    /// Readable when the work is done, or the worker gone.
    socket: OwnedFd,
    pidfd: OwnedFd,
}

impl Worker {
    /// Starts one, which answers to `server`.
    pub(super) fn start(layers: &Layers, server: &OwnedFd) -> Result<Self, StepError> {
        let (socket, end) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .step(|| "make a worker's socket".to_owned())?;
        let launcher = getpid();
        match sys::clone_into(0, None).step(|| "clone a worker".to_owned())? {
            sys::Cloned::Parent { pidfd, .. } => Ok(Self { socket, pidfd }),
            sys::Cloned::Child => {
                drop(socket);
                let _ = rustix::thread::set_name(c"atoll-layers");
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                // The launcher may have died before it could be told of that.
                if getppid() == Some(launcher) {
                    serve(&end, server, layers);
                }
                sys::exit_now(0)
            }
        }
    }

    /// Gives it work.
    pub(super) fn begin(&self, job: &Job) -> Result<(), StepError> {
        let bytes = postcard::to_stdvec(job).unwrap_or_default();
        send(self.socket(), &bytes, SendFlags::NOSIGNAL)
            .map(|_| ())
            .step(|| "give work to a worker".to_owned())
    }

    /// What came of it; none if the worker died over it. Waits for it if it goes on.
    pub(super) fn result(&self) -> Option<Result<(), Failure>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let (length, _) = recv(self.socket(), &mut bytes, RecvFlags::empty()).ok()?;
        postcard::from_bytes(&bytes[..length]).ok()
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
}

/// Does work until there is none any more.
fn serve(launcher: &OwnedFd, server: &OwnedFd, layers: &Layers) {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    while let Ok((length @ 1.., _)) = recv(launcher, &mut bytes, RecvFlags::empty()) {
        let Ok(Job { work, answers }) = postcard::from_bytes::<Job>(&bytes[..length]) else { return };
        let result = work.perform(layers).map_err(Failure::from);
        if let Some(number) = answers {
            let reply = match result.clone() {
                Ok(()) => Reply::Done { number },
                Err(failure) => Reply::Failed { number, failure },
            };
            calls::send(server, &reply, None);
        }
        let said = postcard::to_stdvec(&result).unwrap_or_default();
        if send(launcher, &said, SendFlags::NOSIGNAL).is_err() {
            return;
        }
    }
}
