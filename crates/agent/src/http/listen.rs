//! Accepts HTTP connections over TCP, no more at once than the agent has memory for.

use std::{rc::Rc, sync::Arc, time::Duration};

use protocol::agent::HttpDialect;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{Door, http_serve};
use crate::agent::Agent;

/// Connections at once; who comes then waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long accepting rests after it failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Serves whoever connects, after `greet` was called.
pub(crate) async fn http_accept(
    agent: Rc<Agent>,
    dialect: HttpDialect,
    door: Rc<Door>,
    listener: TcpListener,
    greet: impl Fn(&Rc<Agent>),
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                // Events are written whole; waiting for more would only delay them. Without it they come later.
                let _ = stream.set_nodelay(true);
                greet(&agent);
                let (agent, door) = (Rc::clone(&agent), Rc::clone(&door));
                tokio::task::spawn_local(async move {
                    http_serve(agent, dialect, door, stream).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}
