//! From `exec` to accepting: makes the process safe to run next to hostile ones, opens the socket, starts
//! the runtime. Every launch of a sandbox waits for this file, so it does little.
//!
//! It must not know requests: [`crate::connection`] does.

use std::{
    io,
    os::unix::net::UnixListener as StdUnixListener,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior, umask},
};
use tokio::{net::UnixListener, runtime, task::LocalSet};

use crate::{agent::Agent, connection::connection_serve, signals::SignalQueue, sys};

/// The descriptor number under which the launcher hands over the listening socket.
const INHERITED_SOCKET_FD: i32 = 3;
/// How long accepting rests after it failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Where the agent listens.
pub(crate) enum Socket {
    /// On the socket that the launcher left under [`INHERITED_SOCKET_FD`].
    Inherited,
    /// On a socket that the agent makes at this path, for its own user only.
    Path(PathBuf),
}

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// A call that prepares the process failed.
    #[error("{step}: {source}")]
    Process {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket at a path could not be made.
    #[error("listen on {}: {source}; remove the file if no agent uses it any more", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves until the agent is told to end (SIGTERM, SIGINT).
///
/// # Errors
/// [`BootError`]; once it accepts, nothing but a signal ends it.
pub(crate) fn serve(socket: Socket) -> Result<(), BootError> {
    let step = |step| move |source| BootError::Process { step, source };
    // Before all else: from here on, programs of the same user can neither trace this process nor read its
    // memory (prctl(2), PR_SET_DUMPABLE).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| step("make the process undumpable")(errno.into()))?;
    sys::descriptors_close_on_exec().map_err(step("mark descriptors close-on-exec"))?;
    // Before anything is opened, which could get the number.
    let listener = match &socket {
        Socket::Inherited => {
            sys::socket_inherited(INHERITED_SOCKET_FD).map_err(step("take over descriptor 3"))?
        }
        Socket::Path(path) => socket_bind(path)?,
    };
    sys::malloc_single_arena();
    let signals = sys::signals_block().map_err(step("block signals"))?;
    listener.set_nonblocking(true).map_err(step("make the socket non-blocking"))?;
    let is_init = getpid().is_init();
    if !is_init {
        set_child_subreaper(Some(getpid())).map_err(|errno| step("become a subreaper")(errno.into()))?;
    }
    // The modes of files and folders are then exactly those that a request names; children get 0o022.
    umask(Mode::empty());

    let agent = Rc::new(Agent::new().map_err(step("open /dev/null"))?);
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(step("start the runtime"))?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let listener = UnixListener::from_std(listener).map_err(step("register the socket"))?;
        let signals = SignalQueue::new(signals).map_err(step("register the signals"))?;
        tokio::task::spawn_local(connections_accept(Rc::clone(&agent), listener));
        signals.until_told_to_end(&agent).await;
        Ok(())
    });
    if let Socket::Path(path) = &socket {
        // It may be gone already; the next start says so if it is still there.
        let _ = std::fs::remove_file(path);
    }
    if is_init {
        sys::processes_kill_all();
    }
    ended
}

/// Makes a listening socket that only this user can connect to.
fn socket_bind(path: &Path) -> Result<StdUnixListener, BootError> {
    umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    StdUnixListener::bind(path).map_err(|source| BootError::Bind { path: path.to_owned(), source })
}

async fn connections_accept(agent: Rc<Agent>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(connection_serve(Rc::clone(&agent), stream));
            }
            // No descriptor or memory is left (accept(2)); nothing tells when there is again.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
