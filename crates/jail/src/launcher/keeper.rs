//! The keeper: the launcher's parent, which starts another one if it dies. It does nothing else: it reads nothing
//! from the server, and knows of it only that it lives.
//!
//! The server gives up root before it serves, so it could not start a launcher itself.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use protocol::launcher::Failure;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
    pipe::{PipeFlags, pipe_with},
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};

use super::{AtServerEnd, LauncherConfig, serve, tell};
use crate::{
    failure::{Step, StepError},
    sys,
};

/// How long a launcher may take to set itself up, with all that it takes over or ends: longer, and it is stuck.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A launcher that lives for less than this has failed.
const SHORT_LIFE: Duration = Duration::from_millis(100);
/// The pause after a first failure; each further one in a row doubles it, up to the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Larger than any message to the server, and than a launcher's report.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What the server gets with each launcher's socket: its process id, or why there is none.
type Message = Result<i32, Failure>;

/// A launcher that was started.
#[derive(Debug)]
pub struct Started {
    /// The server's end of its socket pair. It ends when this is closed.
    pub socket: OwnedFd,
    /// Its process id.
    pub pid: i32,
}

/// Starts the keeper, which starts the launcher. Returns its process id and the server's end of its socket: each
/// launcher comes as one message of it.
pub(super) fn keeper_start(config: LauncherConfig) -> Result<(OwnedFd, i32), StepError> {
    let (server, keeper) = pair()?;
    match sys::clone_into(0, None).step(|| "fork the launcher's keeper".to_owned())? {
        sys::Cloned::Parent { pid, .. } => Ok((server, pid)),
        sys::Cloned::Child => {
            drop(server);
            let _ = rustix::thread::set_name(c"atoll-keeper");
            // Ctrl-C in the operator's terminal is the server's to handle.
            let _ = rustix::process::setsid();
            sys::exit_now(keep(&config, &keeper))
        }
    }
}

/// Takes the next launcher from the keeper's socket. Waits for it unless the socket is non-blocking.
///
/// # Errors
/// Why there is none. [`Errno::PIPE`] when the keeper is gone, and there will be none.
pub(crate) fn started_receive(keeper: impl AsFd) -> Result<Started, StepError> {
    let step = || "hear from the launcher's keeper".to_owned();
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(keeper, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .step(step)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Err(Errno::PIPE).step(step);
    }
    let message: Message =
        postcard::from_bytes(&bytes[..received.bytes]).map_err(|_| StepError::new(step(), Errno::PROTO))?;
    match (message, socket) {
        (Ok(pid), Some(socket)) => Ok(Started { socket, pid }),
        (Ok(_), None) => Err(StepError::new(step(), Errno::PROTO)),
        (Err(failure), _) => Err(StepError::new(failure.step, Errno::from_raw_os_error(failure.errno))),
    }
}

/// Keeps a launcher running until the server is gone. Returns the exit status.
fn keep(config: &LauncherConfig, server: &OwnedFd) -> i32 {
    let mut failures = 0;
    let mut is_first = true;
    loop {
        let started_at = Instant::now();
        match launcher_start(config, server) {
            Ok((started, pidfd)) => {
                send(server, &Ok(started.pid), Some(&started.socket));
                // Or the launcher would not see that the server is gone.
                drop(started);
                let server_gone = ended_await(&[&pidfd, server], None);
                reap(&pidfd);
                if server_gone {
                    return 0;
                }
                tell("it died; starting another one");
            }
            Err(error) if is_first => {
                send(server, &Err(error.into()), None);
                return 1;
            }
            Err(error) => tell(format_args!("another one could not be started: {error}")),
        }
        is_first = false;
        failures = if started_at.elapsed() < SHORT_LIFE { failures + 1 } else { 0 };
        let pause = match failures {
            0 => Duration::ZERO,
            _ => PAUSE_MAX.min(PAUSE * 2_u32.pow(failures.min(10) - 1)),
        };
        if ended_await(&[server], Some(pause)) {
            return 0;
        }
    }
}

/// Waits until one of these has ended, or the time is over. Returns whether the last one has: that is the server,
/// which sends nothing, so what can be read of it is its end.
fn ended_await(fds: &[&OwnedFd], within: Option<Duration>) -> bool {
    let timeout = within.map(|within| Timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(within.subsec_nanos()),
    });
    let mut ends: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::IN)).collect();
    while matches!(poll(&mut ends, timeout.as_ref()), Err(Errno::INTR)) {}
    ends.last().is_some_and(|end| !end.revents().is_empty())
}

/// Forks a launcher off and waits until it has set itself up. One that fails to has ended when this returns.
fn launcher_start(config: &LauncherConfig, keeper: &OwnedFd) -> Result<(Started, OwnedFd), StepError> {
    let (server, launcher) = pair()?;
    let (ready_read, ready_write) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).step(|| "make a pipe".to_owned())?;
    match sys::clone_into(0, None).step(|| "fork the launcher".to_owned())? {
        sys::Cloned::Parent { pid, pidfd } => {
            drop((launcher, ready_write));
            // A launcher that is to end the sandboxes has that to do, however early the server went.
            let leaves = config.at_server_end == AtServerEnd::LeaveSandboxes;
            if let Err(error) = readiness_await(&ready_read, leaves.then_some(keeper), READY_WITHIN) {
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
                reap(&pidfd);
                return Err(error);
            }
            Ok((Started { socket: server, pid }, pidfd))
        }
        sys::Cloned::Child => {
            drop((server, ready_read));
            let status = match serve::Launcher::new(config.clone(), launcher) {
                Ok(launcher) => {
                    drop(ready_write);
                    launcher.run()
                }
                Err(error) => {
                    let report = postcard::to_stdvec(&Failure::from(error));
                    let _ = rustix::io::write(ready_write.as_fd(), &report.unwrap_or_default());
                    1
                }
            };
            sys::exit_now(status)
        }
    }
}

fn reap(launcher: &OwnedFd) {
    let _ = waitid(WaitId::PidFd(launcher.as_fd()), WaitIdOptions::EXITED);
}

/// Waits until the launcher has set itself up: its end of the pipe, which does not block, closes, or tells why not.
/// Gives up after a time, or when the server is gone.
fn readiness_await(pipe: &OwnedFd, server: Option<&OwnedFd>, within: Duration) -> Result<(), StepError> {
    let step = || "wait for the launcher".to_owned();
    let ends: Vec<&OwnedFd> = [pipe].into_iter().chain(server).collect();
    let last_ended = ended_await(&ends, Some(within));
    let mut report = [0; MESSAGE_BYTES_MAX];
    let length = match rustix::io::read(pipe, &mut report) {
        Ok(0) => return Ok(()),
        Ok(length) => length,
        Err(Errno::AGAIN) if last_ended => {
            return Err(StepError::new("wait for the launcher, for a server that is gone", Errno::PIPE));
        }
        Err(Errno::AGAIN) => {
            let step = format!("wait for the launcher to set itself up, for {} s", within.as_secs());
            return Err(StepError::new(step, Errno::TIMEDOUT));
        }
        Err(errno) => return Err(errno).step(step),
    };
    let failure: Failure = postcard::from_bytes(&report[..length])
        .map_err(|_| StepError::new("read the launcher's report", Errno::PROTO))?;
    Err(StepError::new(failure.step, Errno::from_raw_os_error(failure.errno)))
}

fn pair() -> Result<(OwnedFd, OwnedFd), StepError> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .step(|| "make a socket pair".to_owned())
}

fn send(server: &OwnedFd, message: &Message, socket: Option<&OwnedFd>) {
    let Ok(bytes) = postcard::to_stdvec(message) else { return };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let socket = socket.map(AsFd::as_fd);
    if !socket.as_slice().is_empty() {
        control.push(SendAncillaryMessage::ScmRights(socket.as_slice()));
    }
    // A server that is gone shows when it is waited for.
    let _ = sendmsg(server, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a launcher's pipe.
    fn ready_pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    #[test]
    fn a_launcher_is_ready_when_its_pipe_closes_and_tells_why_it_is_not() {
        let (_server, keeper) = pair().unwrap();
        let (read, write) = ready_pipe();
        drop(write);
        assert_eq!(readiness_await(&read, Some(&keeper), READY_WITHIN), Ok(()));
        let (read, write) = ready_pipe();
        let error = StepError::new("make a thing", Errno::NOSPC);
        rustix::io::write(&write, &postcard::to_stdvec(&Failure::from(error.clone())).unwrap()).unwrap();
        assert_eq!(readiness_await(&read, Some(&keeper), READY_WITHIN), Err(error));
    }

    #[test]
    fn a_launcher_that_is_never_ready_is_given_up() {
        let (_server, keeper) = pair().unwrap();
        let (read, _write) = ready_pipe();
        for server in [Some(&keeper), None] {
            let error = readiness_await(&read, server, Duration::from_millis(1)).unwrap_err();
            assert_eq!(error.errno, Errno::TIMEDOUT, "{error}");
        }
    }

    #[test]
    fn a_launcher_is_not_waited_for_when_the_server_is_gone() {
        let (server, keeper) = pair().unwrap();
        let (read, _write) = ready_pipe();
        drop(server);
        let error = readiness_await(&read, Some(&keeper), Duration::from_secs(3600)).unwrap_err();
        assert_eq!(error.errno, Errno::PIPE, "{error}");
    }
}
