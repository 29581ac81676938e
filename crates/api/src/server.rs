//! Serves a router on listeners that somebody else has bound: accepts, holds connections to their limits,
//! shuts down gracefully. It must not know what the router answers.

use std::{
    io,
    net::{SocketAddr, TcpListener as BoundListener},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::peer::{Listener, Peer};

/// How long a connection may take to send a request's head, which is also how long it may stay idle.
const HEAD_READ_MAX: Duration = Duration::from_secs(60);
/// The largest head of a request; a larger one is answered with 431.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Connections at once, over all listeners. Further ones wait in the kernel's queue: running sandboxes need
/// file descriptors too.
const CONNECTIONS_MAX: u32 = 4096;
/// How long accepting pauses when the process is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why serving did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener can't be used.
    #[error("cannot serve on {address}")]
    Listener {
        /// Its address, where it has one.
        address: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Serves `router` on all of `listeners` over HTTP/1.1 until `shutdown` completes. Then no connection is
/// accepted any more, idle ones are closed, and requests under way get `grace` to be answered; this returns
/// after that in any case, and what is still under way then ends with the runtime.
///
/// Must be called on a tokio runtime with its network and timer drivers on.
///
/// # Errors
/// [`ServeError`], before anything is served. What goes wrong on a connection ends that connection only.
pub async fn serve(
    listeners: Vec<BoundListener>,
    router: Router,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), ServeError> {
    let listeners = listeners.into_iter().map(listener_take).collect::<Result<Vec<_>, _>>()?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let (stop, stopping) = watch::channel(());
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept_loop(listener, router.clone(), Arc::clone(&permits), stopping.clone()));
    }
    shutdown.await;
    loops.shutdown().await;
    // Every connection watches this channel and ends with its permit.
    drop(stop);
    if timeout(grace, permits.acquire_many(CONNECTIONS_MAX)).await.is_err() {
        tracing::warn!(grace_s = grace.as_secs(), "requests are still under way at shutdown");
    }
    Ok(())
}

fn listener_take(listener: BoundListener) -> Result<TcpListener, ServeError> {
    let address = listener.local_addr().map_or_else(|_| "an unknown address".to_owned(), |it| it.to_string());
    listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(|source| ServeError::Listener { address, source })
}

async fn accept_loop(
    listener: TcpListener,
    router: Router,
    permits: Arc<Semaphore>,
    stopping: watch::Receiver<()>,
) {
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = router.layer(Extension(Listener { is_loopback }));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connection_serve(stream, peer, router.clone(), permit, stopping.clone()));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an error of accept(2) says that the connection went away, and nothing of the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn connection_serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    permit: OwnedSemaphorePermit,
    mut stopping: watch::Receiver<()>,
) {
    // A response leaves in one or two writes; waiting for the client's acknowledgement in between costs 40
    // ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    drop(permit);
}

#[cfg(test)]
mod tests;
