//! Serves a router on listeners that somebody else has bound: accepts, holds connections to their number,
//! shuts down gracefully. It must not know what the router answers.

mod addresses;
mod connection;
mod gone;
mod stream;

use std::{
    io,
    net::{SocketAddr, TcpListener as BoundListener},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{addresses::Addresses, connection::connection_serve};
use crate::peer::Listener;

/// Connections at once, over all listeners. Further ones wait in the kernel's queue: running sandboxes need
/// file descriptors too.
const CONNECTIONS_MAX: u32 = 4096;
/// How long accepting pauses when the process is out of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The answer to a connection too many of one address.
const TURNED_AWAY: &str = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: \
    1\r\nconnection: close\r\ncontent-length: 50\r\n\r\n{\"error\":\"too many connections from this address\"}";

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

/// Serves `router` on all of `listeners` over HTTP/1.1, with at most `per_address` connections at once from one
/// address, until `shutdown` completes. Then no connection is
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
    per_address: usize,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) -> Result<(), ServeError> {
    let listeners = listeners.into_iter().map(listener_take).collect::<Result<Vec<_>, _>>()?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let addresses = Addresses::new(per_address, CONNECTIONS_MAX as usize);
    let (stop, stopping) = watch::channel(());
    let mut loops = JoinSet::new();
    for listener in listeners {
        let (permits, addresses) = (Arc::clone(&permits), Arc::clone(&addresses));
        loops.spawn(accept_loop(listener, router.clone(), permits, addresses, stopping.clone()));
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
    addresses: Arc<Addresses>,
    stopping: watch::Receiver<()>,
) {
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let router = router.layer(Extension(Listener { is_loopback }));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(entered) = addresses.enter(peer.ip()) else {
                    turn_away(&stream, peer);
                    continue;
                };
                let served = connection_serve(stream, peer, router.clone(), stopping.clone());
                tokio::spawn(async move {
                    served.await;
                    drop((entered, permit));
                });
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

/// Closes a connection whose address has enough of them, with an answer for those that look.
fn turn_away(stream: &TcpStream, peer: SocketAddr) {
    tracing::debug!(%peer, "too many connections from one address");
    let _ = stream.try_write(TURNED_AWAY.as_bytes());
}

#[cfg(test)]
mod tests;
