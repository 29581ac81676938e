//! Serves one connection. It must not know what the router answers.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
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
use tokio::{net::TcpStream, sync::watch};

use super::{
    gone::{gone, keepalive_set, request_answered, request_began},
    stream::{Stream, Traffic},
};
use crate::peer::Peer;

/// How long a connection may take to send a request's head, which is also how long it may stay idle.
const HEAD_READ_MAX: Duration = Duration::from_secs(60);
/// The largest head of a request; a larger one is answered with 431.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;
/// What is read ahead on a connection, and what of an answer is taken in pieces before it is written.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Serves requests on `socket` until the client closes it, goes away or breaks a limit, or `stopping` says so.
pub(super) async fn connection_serve(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stopping: watch::Receiver<()>,
) {
    // A response leaves in one or two writes; waiting for the client's acknowledgement in between costs 40
    // ms.
    if let Err(error) = socket.set_nodelay(true).and_then(|()| keepalive_set(&socket)) {
        tracing::debug!(%error, "cannot set the connection's options");
    }
    let (socket, traffic) = (Arc::new(socket), Arc::new(Traffic::default()));
    let stream = Stream::new(Arc::clone(&socket), Arc::clone(&traffic));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(traffic.unwritten.clone());
        request_began(&traffic, &request);
        let answered = router.call(request);
        let traffic = Arc::clone(&traffic);
        async move {
            let response = answered.await?;
            request_answered(&traffic, &response);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut gone = pin!(gone(&socket, &traffic));
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        ended = served => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        },
        // What is under way ends with the connection, where nothing keeps it.
        () = gone.as_mut() => tracing::debug!("the client has gone"),
    }
}
