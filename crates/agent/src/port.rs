//! Dials TCP ports on the sandbox's own loopback, and joins the two streams.
//!
//! It must not know frames: after the answer a connection carries none.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use protocol::agent::{Failure, FailureKind};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional_with_sizes},
    net::TcpStream,
};

use crate::failure::{failure, failure_os};

/// How much of each direction is held at once.
const COPY_BYTES: usize = 16 << 10;

/// Connects to the port on 127.0.0.1 or, where nothing listens there, on ::1.
///
/// # Errors
/// A [`Failure`] of kind [`FailureKind::Refused`] when nothing listens on either.
pub(crate) async fn port_dial(port: u16) -> Result<TcpStream, Failure> {
    if port == 0 {
        return Err(failure(FailureKind::Invalid, "connect to port 0: ports begin at 1"));
    }
    let tcp = match TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(tcp) => tcp,
        // The first error is the one to report: a sandbox without IPv6 fails on ::1 for another reason.
        Err(error) => TcpStream::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
            .await
            .map_err(|_| failure_os(format_args!("connect to port {port}"), &error))?,
    };
    // The peer of this socket is a proxy: it has gathered its writes already.
    tcp.set_nodelay(true).map_err(|error| failure_os(format_args!("connect to port {port}"), &error))?;
    Ok(tcp)
}

/// Copies both ways until both directions have ended; the end of one is passed on as a half-close. `early`
/// is what came from the connection before this.
pub(crate) async fn tunnel(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    mut tcp: TcpStream,
    early: &[u8],
) {
    if tcp.write_all(early).await.is_ok() {
        // A reset of either side ends both, which dropping them does.
        let _ = copy_bidirectional_with_sizes(&mut connection, &mut tcp, COPY_BYTES, COPY_BYTES).await;
    }
}
