//! One port of the sandbox that is shown outside: bound and unbound by clients, and a TCP proxy that leads there.

use std::{
    cell::Cell,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener as StdTcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::StatusCode;
use protocol::agent::{Failure, FailureKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{
    invalid,
    types::{BindRequest, PortConflict, PortReply},
    value_of,
};
use crate::{
    agent::Agent,
    failure::failure,
    http::{HttpError, Incoming, Reply, json},
    port::{port_dial, tunnel},
};

/// Says another port for the proxy.
pub(crate) const PROXY_PORT_VARIABLE: &str = "PROXY_PORT";
/// Where the proxy listens unless it is said.
pub(crate) const PROXY_PORT_DEFAULT: u16 = 3031;
/// Connections at once; who comes then waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long accepting rests after it failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// The port that is bound.
#[derive(Default)]
pub(super) struct BoundPort {
    bound: Cell<Option<u16>>,
    /// Whether it was tried to open the proxy.
    is_proxy_open: Cell<bool>,
}

/// `POST /bind_port`
pub(super) async fn bind(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let BindRequest { port } = value_of(request).await?;
    let text = port.filter(|port| !port.is_empty()).ok_or_else(|| invalid("Port is required"))?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
    let port = port.ok_or_else(|| invalid(format!("Invalid port: {text}")))?;
    let bound = &agent.executor.port.bound;
    if let Some(current) = bound.get() {
        let conflict =
            PortConflict { success: false, error: "Port already bound", current_port: current.to_string() };
        let mut reply = json(&conflict);
        *reply.status_mut() = StatusCode::CONFLICT;
        return Ok(reply);
    }
    bound.set(Some(port));
    Ok(json(&PortReply { success: true, message: "Port binding configured", port: Some(port.to_string()) }))
}

/// `POST /unbind_port`
pub(super) fn unbind(agent: &Agent) -> Reply {
    agent.executor.port.bound.set(None);
    json(&PortReply { success: true, message: "Port binding removed", port: None })
}

/// Connects to the port that is bound.
///
/// # Errors
/// A [`Failure`] of kind [`FailureKind::Refused`] when none is, or nothing listens there.
pub(crate) async fn bound_port_dial(agent: &Agent) -> Result<TcpStream, Failure> {
    match agent.executor.port.bound.get() {
        Some(port) => port_dial(port).await,
        None => {
            Err(failure(FailureKind::Refused, "no port is bound in this sandbox; POST /bind_port binds one"))
        }
    }
}

/// Listens inside of a sandbox from now on, if it can and does not yet: on its loopback, as from outside the server
/// leads to the port, and asks who comes.
pub(crate) fn proxy_open_inside(agent: &Rc<Agent>) {
    if agent.executor.port.is_proxy_open.replace(true) {
        return;
    }
    let given = agent.surroundings.env();
    let said =
        given.iter().flat_map(|given| given.iter().rev()).find(|(name, _)| name == PROXY_PORT_VARIABLE);
    let port = said.and_then(|(_, port)| port.parse().ok()).unwrap_or(PROXY_PORT_DEFAULT);
    let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(TcpListener::from_std);
    match listener {
        Ok(listener) => {
            tokio::task::spawn_local(proxy_serve(Rc::clone(agent), listener));
        }
        // A program of the sandbox may have the port. Nobody may read this.
        Err(error) => {
            let _ = writeln!(io::stderr(), "atoll-agent: no proxy on 127.0.0.1:{port}: {error}");
        }
    }
}

/// Joins whoever connects to the port that is bound at that moment. Without one, or when nothing listens there, the
/// connection is closed.
pub(crate) async fn proxy_serve(agent: Rc<Agent>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                // What is behind it has gathered its writes already.
                let _ = stream.set_nodelay(true);
                let agent = Rc::clone(&agent);
                tokio::task::spawn_local(async move {
                    if let Ok(inside) = bound_port_dial(&agent).await {
                        tunnel(stream, inside, b"").await;
                    }
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
