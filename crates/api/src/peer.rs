//! Whose connection a request came on. It must not know what is done with that.

use std::net::SocketAddr;

/// The other end of a request's connection: an extension of every request that the server takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Where the connection was accepted: an extension as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Only this machine reaches it. What a proxy in front of it passes on comes from this machine too.
    pub(crate) is_loopback: bool,
}
