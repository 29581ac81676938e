//! Whose connection a request came on. It must not know what is done with that.

use std::net::SocketAddr;

/// The other end of a request's connection: an extension of every request that the server takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) SocketAddr);
