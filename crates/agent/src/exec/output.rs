//! Reads what a process writes its output to, pipes or a terminal, into its backlogs.
//!
//! It must not know connections: whether somebody follows shows only in whether there is room.
//!
//! When the main process has ended, a descendant may still hold the pipe open, perhaps for ever. The stream
//! then ends at the first of
//! * the end of the pipe: nobody holds it any more;
//! * [`SILENCE`] without a byte;
//! * [`DRAIN_MAX`] after the end, once more than any pipe holds was read since: what comes now was written
//!   after it.
//!
//! A terminal ends with the main process, which leads its session: the kernel takes it from everybody else.
//!
//! All that the main process wrote is read in any case. What descendants write later is read and dropped for
//! as long as they hold the pipe, so that a server left in the background does not die of its first log line.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::{Rc, Weak},
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::{Errno, ioctl_fionread},
    pipe::{SpliceFlags, fcntl_setpipe_size, splice},
};
use tokio::net::unix::pipe;

use super::{
    state::{Exec, OutputStream},
    terminal::Terminal,
};
use crate::agent::{Agent, SCRATCH_BYTES};

/// How long nothing must come after the main process has ended, for the stream to end.
const SILENCE: Duration = Duration::from_millis(100);
/// How long a stream that does not fall silent goes on after the main process has ended.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// What the pipe of a program that writes much is enlarged to. The kernel starts with 64 KiB.
const PIPE_BYTES_LARGE: usize = 256 << 10;
/// The most that a pipe holds, should the program enlarge it: pipe(7), pipe-max-size.
const PIPE_BYTES_MAX: usize = 1 << 20;

/// The agent's end of what a program writes to.
pub(crate) enum Source {
    /// The reading end of a pipe.
    Pipe(Rc<pipe::Receiver>),
    /// All that comes out of a terminal.
    Terminal(Rc<Terminal>),
}

/// Tells how much waits in a pipe, and keeps it from nothing. Of what is no pipe it tells nothing.
#[derive(Default)]
pub(crate) struct OutputGauge(Weak<pipe::Receiver>);

impl OutputGauge {
    /// Bytes that were written and not read yet: ioctl_pipe(2), `FIONREAD`.
    pub(crate) fn bytes(&self) -> usize {
        let waiting = self.0.upgrade().and_then(|pipe| ioctl_fionread(&*pipe).ok());
        waiting.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default()
    }
}

impl Source {
    /// Registers the reading end of a pipe with the runtime.
    ///
    /// # Errors
    /// Those of fcntl(2) and epoll_ctl(2).
    pub(crate) fn pipe(end: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&end, OFlags::NONBLOCK)?;
        Ok(Self::Pipe(Rc::new(pipe::Receiver::from_owned_fd_unchecked(end)?)))
    }

    pub(crate) fn gauge(&self) -> OutputGauge {
        match self {
            Self::Pipe(pipe) => OutputGauge(Rc::downgrade(pipe)),
            Self::Terminal(_) => OutputGauge::default(),
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.readable().await,
            Self::Terminal(terminal) => terminal.readable().await,
        }
    }

    /// Reads at most what `into` has room for; 0 at the end.
    fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_read_buf(into),
            Self::Terminal(terminal) => terminal.try_read(into),
        }
    }
}

/// Reads a stream until it ends.
pub(crate) async fn pump(agent: &Rc<Agent>, exec: &Exec, stream: OutputStream, source: Source) {
    let mut is_enlarged = false;
    let mut bytes_after_exit = 0;
    loop {
        tokio::select! {
            biased;
            ready = source.readable() => if ready.is_err() { return },
            () = silence(exec) => break,
        }
        // Last before reading: a follower that has come meanwhile must not see its backlog overflow.
        exec.room(stream, SCRATCH_BYTES).await;
        let read = match piece_read(agent, exec, stream, &source) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if let Source::Pipe(pipe) = &source
            && !is_enlarged
            && read == SCRATCH_BYTES
        {
            // The pipe was full: with more room, program and agent take turns less often. The kernel may
            // refuse (pipe(7), pipe-user-pages-soft); it works as before then.
            is_enlarged = true;
            let _ = fcntl_setpipe_size(pipe, PIPE_BYTES_LARGE);
        }
        if let Some(ago) = exec.exited_ago() {
            bytes_after_exit += read;
            if bytes_after_exit > PIPE_BYTES_MAX && ago > DRAIN_MAX {
                break;
            }
        }
    }
    if let Source::Pipe(pipe) = source {
        tokio::task::spawn_local(leftover_drop(Rc::clone(agent), pipe));
    }
}

/// Reads and drops until nobody holds the pipe any more.
async fn leftover_drop(agent: Rc<Agent>, pipe: Rc<pipe::Receiver>) {
    while pipe.readable().await.is_ok() {
        match piece_drop(&pipe, &agent.null) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

async fn silence(exec: &Exec) {
    exec.exited().await;
    tokio::time::sleep(SILENCE).await;
}

/// Reads once; 0 at the end.
fn piece_read(agent: &Agent, exec: &Exec, stream: OutputStream, source: &Source) -> io::Result<usize> {
    if let Source::Pipe(pipe) = source
        && exec.backlog(stream).is_capped()
    {
        let dropped = piece_drop(pipe, &agent.null)?;
        exec.output_add(stream, |mut backlog| backlog.count_dropped(dropped as u64));
        return Ok(dropped);
    }
    let mut scratch = agent.scratch.borrow_mut();
    scratch.clear();
    let read = source.read(&mut scratch)?;
    if read > 0 {
        exec.output_add(stream, |mut backlog| backlog.push(&scratch));
    }
    Ok(read)
}

/// Drops what is in the pipe without copying it: splice(2) to `/dev/null`.
fn piece_drop(pipe: &pipe::Receiver, null: &File) -> io::Result<usize> {
    pipe.try_io(|| match splice(pipe.as_fd(), None, null, None, PIPE_BYTES_MAX, SpliceFlags::NONBLOCK) {
        // A kernel or filter without the call.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
            Ok(rustix::io::read(pipe.as_fd(), &mut [0; 16 << 10])?)
        }
        result => Ok(result?),
    })
}
