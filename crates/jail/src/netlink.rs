//! Requests to the kernel's routing socket (rtnetlink(7)), one at a time, without a runtime.
//!
//! It must not know sandboxes: interfaces, addresses and routes only.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

/// A socket of the network namespace it was opened in.
pub(crate) struct Netlink {
    socket: Socket,
    number: u32,
}

impl Netlink {
    pub(crate) fn open() -> std::io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, number: 0 })
    }

    /// Makes a pair of interfaces, `host` here and `eth0` in the network namespace of process `pid`.
    pub(crate) fn pair_create(&mut self, host: &str, pid: u32, mtu: u32) -> Result<(), Errno> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName("eth0".to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::NetNsPid(pid),
        ];
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(host.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.call(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sets an interface up.
    pub(crate) fn link_up(&mut self, index: u32) -> Result<(), Errno> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.call(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Gives an interface an address without a network.
    pub(crate) fn address_add(&mut self, index: u32, address: Ipv4Addr) -> Result<(), Errno> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(IpAddr::V4(address)),
            AddressAttribute::Address(IpAddr::V4(address)),
        ];
        self.call(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Routes one address straight to an interface.
    pub(crate) fn route_add_direct(&mut self, index: u32, to: Ipv4Addr) -> Result<(), Errno> {
        let mut route = ipv4_route(RouteScope::Link);
        route.header.destination_prefix_length = 32;
        route.attributes =
            vec![RouteAttribute::Destination(RouteAddress::Inet(to)), RouteAttribute::Oif(index)];
        self.call(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Routes everything else to a gateway.
    pub(crate) fn route_add_default(&mut self, index: u32, gateway: Ipv4Addr) -> Result<(), Errno> {
        let mut route = ipv4_route(RouteScope::Universe);
        route.attributes =
            vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)];
        self.call(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn call(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Errno> {
        self.number += 1;
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.number;
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.socket.send(&bytes, 0).map_err(io)?;
        loop {
            let (answer, _) = self.socket.recv_from_full().map_err(io)?;
            let answer =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(|_| Errno::PROTO)?;
            if answer.header.sequence_number != self.number {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) => match error.code {
                    None => Ok(()),
                    Some(code) => Err(Errno::from_raw_os_error(code.get().saturating_neg())),
                },
                _ => Err(Errno::PROTO),
            };
        }
    }
}

fn ipv4_route(scope: RouteScope) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = scope;
    route.header.kind = RouteType::Unicast;
    route
}

/// The number of an interface of this network namespace.
pub(crate) fn interface_index(name: &str) -> Result<u32, Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::netdevice::name_to_index(&socket, name)
}
