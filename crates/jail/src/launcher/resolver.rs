//! The sockets that sandboxes' questions for names come to. They are made before the launcher is started: it has to
//! know their ports, and the server has to have them.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::{
    failure::{Step, StepError},
    plan::{Instance, Slot},
};

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 128;

/// Where questions for names are led to, on the address that is each sandbox's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverPorts {
    /// Of datagrams.
    pub udp: u16,
    /// Of connections.
    pub tcp: u16,
}

/// Where questions for names come in, and whom to ask.
#[derive(Debug)]
pub struct Resolver {
    /// Questions as datagrams.
    pub udp: UdpSocket,
    /// Questions over connections.
    pub tcp: TcpListener,
    /// The host's name servers.
    pub nameservers: Vec<Ipv4Addr>,
}

impl Resolver {
    pub(super) fn open(instance: Instance, nameservers: Vec<Ipv4Addr>) -> Result<Self, StepError> {
        let gateway = SocketAddrV4::new(Slot { instance, number: 0 }.gateway(), 0);
        let bound = |kind| -> std::io::Result<_> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
            // The address is there with the first sandbox that has a network.
            sockopt::set_ip_freebind(&socket, true)?;
            rustix::net::bind(&socket, &gateway)?;
            Ok(socket)
        };
        let open = || -> std::io::Result<Self> {
            let tcp = bound(SocketType::STREAM)?;
            rustix::net::listen(&tcp, LISTEN_BACKLOG)?;
            Ok(Self { udp: bound(SocketType::DGRAM)?.into(), tcp: tcp.into(), nameservers })
        };
        open().step(|| format!("open the resolver on {}", gateway.ip()))
    }

    pub(super) fn ports(&self) -> Result<ResolverPorts, StepError> {
        let ports = || -> std::io::Result<ResolverPorts> {
            Ok(ResolverPorts { udp: self.udp.local_addr()?.port(), tcp: self.tcp.local_addr()?.port() })
        };
        ports().step(|| "look at the resolver's sockets".to_owned())
    }
}
