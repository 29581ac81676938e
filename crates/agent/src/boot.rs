//! From `exec` to accepting: makes the process safe to run next to hostile ones, opens the socket, starts
//! the runtime. Every launch of a sandbox waits for this file, so it does little.
//!
//! It must not know requests: [`crate::connection`] does.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener},
    os::unix::net::UnixListener as StdUnixListener,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use protocol::agent::HttpDialect;
use rustix::{
    fs::Mode,
    process::{DumpableBehavior, getpid, set_child_subreaper, set_dumpable_behavior, umask},
};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime,
    task::LocalSet,
};

use crate::{
    agent::Agent,
    connection::connection_serve,
    execd, executor,
    http::{Door, http_accept},
    signals::SignalQueue,
    sys,
};

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
    /// On an address of the machine, for execd.
    Tcp(SocketAddr, Door),
    /// On all addresses of the machine, for the executor and what it shows.
    Executor {
        /// Who may ask.
        door: Door,
        /// Of the API.
        port: u16,
        /// Of the proxy.
        proxy_port: u16,
    },
}

/// A socket that listens.
enum Listener {
    Unix(StdUnixListener),
    Tcp(StdTcpListener, Rc<Door>),
    Executor(StdTcpListener, Rc<Door>, StdTcpListener),
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
    /// What should be an address is none.
    #[error("{0:?} is no address to listen on; write it like 127.0.0.1:44772")]
    Address(String),
    /// A token that everybody knows.
    #[error(
        "the token is empty; give one that can't be guessed, or leave it out to listen on the loopback only"
    )]
    TokenEmpty,
    /// Whoever could connect would be obeyed.
    #[error(
        "SANDBOX_SECRET is not set, or empty: it is what clients must show; start with SANDBOX_SECRET=… \
         atoll-agent executor"
    )]
    SecretMissing,
    /// What should be a port is none.
    #[error("{variable}={text:?} is no port; give a number from 0 to 65535")]
    Port {
        /// What says it.
        variable: &'static str,
        /// What it says.
        text: String,
    },
    /// Without a token everybody who can connect would be obeyed.
    #[error("listen on {0}: without a token only on the loopback; set ATOLL_AGENT_TOKEN, or give --token")]
    TokenMissing(SocketAddr),
    /// The address can't be listened on.
    #[error("listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
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
    let mut path_made = None;
    let listener = match socket {
        Socket::Inherited => Listener::Unix(
            sys::socket_inherited(INHERITED_SOCKET_FD).map_err(step("take over descriptor 3"))?,
        ),
        Socket::Path(path) => {
            let listener = socket_bind(&path)?;
            path_made = Some(path);
            Listener::Unix(listener)
        }
        Socket::Tcp(address, door) => tcp_listen(address, door)?,
        Socket::Executor { door, port, proxy_port } => executor_listen(door, port, proxy_port)?,
    };
    sys::malloc_single_arena();
    let signals = sys::signals_block().map_err(step("block signals"))?;
    match &listener {
        Listener::Unix(listener) => listener.set_nonblocking(true),
        Listener::Tcp(listener, _) => listener.set_nonblocking(true),
        Listener::Executor(api, _, proxy) => {
            api.set_nonblocking(true).and_then(|()| proxy.set_nonblocking(true))
        }
    }
    .map_err(step("make the socket non-blocking"))?;
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
        let signals = SignalQueue::new(signals).map_err(step("register the signals"))?;
        let registered = step("register the socket");
        match listener {
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener).map_err(registered)?;
                tokio::task::spawn_local(connections_accept(Rc::clone(&agent), listener));
            }
            Listener::Tcp(listener, door) => {
                let listener = TcpListener::from_std(listener).map_err(registered)?;
                execd::code_port_open(&agent, &door);
                let (agent, dialect) = (Rc::clone(&agent), HttpDialect::Execd);
                tokio::task::spawn_local(http_accept(agent, dialect, door, listener, |_| ()));
            }
            Listener::Executor(api, door, proxy) => {
                let api = TcpListener::from_std(api).map_err(&registered)?;
                let proxy = TcpListener::from_std(proxy).map_err(registered)?;
                tokio::task::spawn_local(executor::proxy_serve(Rc::clone(&agent), proxy));
                let (agent, dialect) = (Rc::clone(&agent), HttpDialect::Executor);
                tokio::task::spawn_local(http_accept(agent, dialect, door, api, |_| ()));
            }
        }
        signals.until_told_to_end(&agent).await;
        Ok(())
    });
    if let Some(path) = path_made {
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

/// Listens over TCP and says where: the port may have been left to the kernel.
fn tcp_listen(address: SocketAddr, door: Door) -> Result<Listener, BootError> {
    if matches!(door, Door::Loopback) && !address.ip().is_loopback() {
        return Err(BootError::TokenMissing(address));
    }
    let listen = |source| BootError::Listen { address, source };
    let listener = StdTcpListener::bind(address).map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    // Nobody may read it.
    let _ = writeln!(io::stderr(), "atoll-agent: listening on http://{bound}");
    Ok(Listener::Tcp(listener, Rc::new(door)))
}

/// Listens for the executor on all addresses, of IPv4 alone where there is no IPv6, and says where.
fn executor_listen(door: Door, port: u16, proxy_port: u16) -> Result<Listener, BootError> {
    let bind = |port| {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        StdTcpListener::bind(address)
            .or_else(|_| StdTcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
            .map_err(|source| BootError::Listen { address, source })
    };
    let ((port, api), (proxy_port, proxy)) = (bind(port)?, bind(proxy_port)?);
    // Nobody may read it.
    let _ = writeln!(
        io::stderr(),
        "atoll-agent: the executor listens on port {port}, what it shows is on port {proxy_port}"
    );
    Ok(Listener::Executor(api, Rc::new(door), proxy))
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
