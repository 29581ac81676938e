//! The agent's own signals, as readable events: ended children are reaped, a request to end ends the agent.
//!
//! They are read from a descriptor: no code of the agent runs in a signal handler.

use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

use crate::{agent::Agent, sys};

/// Signals that wait to be read: signalfd(2).
pub(crate) struct SignalQueue(AsyncFd<OwnedFd>);

impl SignalQueue {
    /// Registers a signalfd with the runtime.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub(crate) fn new(signals: OwnedFd) -> io::Result<Self> {
        sys::descriptor_watch(signals).map(Self)
    }

    /// Reaps children as they end. Returns when SIGTERM or SIGINT came, or the queue can't be read.
    pub(crate) async fn until_told_to_end(&self, agent: &Agent) {
        loop {
            let Ok(mut ready) = self.0.readable().await else { return };
            match ready.try_io(|fd| sys::signal_read(fd.get_ref())) {
                Ok(Ok(sys::number::SIGCHLD)) => children_reap(agent),
                Ok(_) => return,
                Err(_would_block) => {}
            }
        }
    }
}

/// Collects every child that has ended. SIGCHLD is not queued, so one signal can stand for many children;
/// what was not started as an exec is an orphan that the kernel handed to the agent.
fn children_reap(agent: &Agent) {
    while let Some(ended) = sys::child_reap() {
        agent.execs.process_ended(&ended);
    }
}
