//! The server as a child process: started, watched, signalled, and never left behind.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::ServeError;
use super::http::get;
use crate::command::start_error;

/// How often the server is looked at while it starts or ends.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long one answer of `GET /health` may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

/// How long the server may take to end its work before it is killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The running server. Dropping it ends it.
pub(super) struct Server {
    child: Child,
    /// Names the process itself: a signal can never hit another one that got its pid later.
    pidfd: Arc<OwnedFd>,
    listen: SocketAddr,
    signalled: Arc<AtomicBool>,
}

impl Server {
    /// Starts `binary serve` and passes this process's signals on to it from now on.
    pub(super) fn start(binary: &Path, listen: SocketAddr) -> Result<Self, ServeError> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|source| supervise("watch for signals", source))?;
        let mut command = Command::new(binary);
        // In a process group of its own, Ctrl-C reaches it once, from us, and not a second time from the terminal.
        command.args(["serve", "--listen", &listen.to_string()]).stdin(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|source| start_error(&command, source))?;
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Arc::new(pidfd),
            Err(error) => {
                child.kill().map_err(|source| supervise("end the server", source))?;
                return Err(supervise("watch the server", error.into()));
            }
        };
        let server = Self { child, pidfd, listen, signalled: Arc::default() };
        let (pidfd, signalled) = (server.pidfd.clone(), server.signalled.clone());
        thread::spawn(move || {
            for signal in signals.forever().filter_map(Signal::from_named_raw) {
                signalled.store(true, Ordering::Relaxed);
                // The server may have ended in the meantime; then there is nothing to tell it.
                let _ = pidfd_send_signal(&pidfd, signal);
            }
        });
        Ok(server)
    }

    /// Whether this process got a signal that ends the server.
    pub(super) fn signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }

    /// Waits until the server answers `GET /health`, at most for `limit`.
    pub(super) fn healthy_wait(&mut self, limit: Duration) -> Result<(), ServeError> {
        let url = format!("http://{}/health", self.listen);
        let start = Instant::now();
        loop {
            if let Some(status) = self.status()? {
                return Err(ServeError::Ended { status });
            }
            match get(&url, HEALTH_LIMIT) {
                Ok(()) => return Ok(()),
                Err(source) if start.elapsed() >= limit => {
                    return Err(ServeError::Silent { listen: self.listen, source });
                }
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Waits until the server ends. Ended by our signal counts as well ended.
    pub(super) fn end_wait(&mut self) -> Result<(), ServeError> {
        let status = self.child.wait().map_err(|source| supervise("wait for the server", source))?;
        if status.success() || (self.signalled() && status.signal().is_some()) {
            return Ok(());
        }
        Err(ServeError::Ended { status })
    }

    fn status(&mut self) -> Result<Option<ExitStatus>, ServeError> {
        self.child.try_wait().map_err(|source| supervise("look at the server", source))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let start = Instant::now();
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() >= END_LIMIT {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

fn supervise(step: &'static str, source: io::Error) -> ServeError {
    ServeError::Supervise { step, source }
}
