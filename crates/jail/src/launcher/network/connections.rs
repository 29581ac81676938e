//! The kernel's table of tracked connections: forgetting those of one address.

use std::net::Ipv4Addr;

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;

use super::message::{attribute, message, nested, outcome};
use crate::failure::{Step, StepError};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE` (`linux/netfilter/nfnetlink.h`,
/// `nfnetlink_conntrack.h`).
const CONNECTIONS_DELETE: u16 = (1 << 8) | 2;
/// `NLM_F_REQUEST | NLM_F_ACK` (netlink(7)).
const FLAGS: u16 = 1 | 4;
/// `CTA_TUPLE_ORIG`, in it `CTA_TUPLE_IP`, in it `CTA_IP_V4_SRC`.
const TUPLE_OF_SENDER: u16 = 1;
const TUPLE_IP: u16 = 1;
const IP_SOURCE: u16 = 1;
/// `CTA_FILTER`, in it `CTA_FILTER_ORIG_FLAGS`; the flag `CTA_FILTER_F_CTA_IP_SRC`.
const FILTER: u16 = 25;
const FILTER_OF_SENDER: u16 = 1;
const BY_SOURCE: u32 = 1;

/// A socket to the kernel's connection tracking.
pub(super) struct Connections(Socket);

impl Connections {
    pub(super) fn open() -> std::io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        Ok(Self(socket))
    }

    /// Forgets every connection that `source` began. Kernels that cannot choose by address alone leave them to
    /// run out.
    pub(super) fn forget(&mut self, source: Ipv4Addr) -> Result<(), StepError> {
        let forget = || -> std::io::Result<()> {
            self.0.send(&forget_message(source), 0)?;
            let (answer, _) = self.0.recv_from_full()?;
            match outcome(&answer) {
                Some(Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP)) => Ok(()),
                Some(Err(errno)) => Err(errno.into()),
                None => Err(Errno::PROTO.into()),
            }
        };
        forget().step(|| format!("forget the connections of {source}"))
    }
}

fn forget_message(source: Ipv4Addr) -> Vec<u8> {
    let address = attribute(IP_SOURCE, &source.octets());
    let tuple = nested(TUPLE_OF_SENDER, &nested(TUPLE_IP, &address));
    let filter = nested(FILTER, &attribute(FILTER_OF_SENDER, &BY_SOURCE.to_ne_bytes()));
    // `struct nfgenmsg`: AF_INET, version 0, no resource.
    message(CONNECTIONS_DELETE, FLAGS, &[&[2, 0, 0, 0], tuple.as_slice(), filter.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let bytes = forget_message(Ipv4Addr::new(10, 213, 0, 2));
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..4], u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        assert_eq!(&bytes[20..36], [16, 0, 1, 128, 12, 0, 1, 128, 8, 0, 1, 0, 10, 213, 0, 2]);
        assert_eq!(&bytes[36..], [12, 0, 25, 128, 8, 0, 1, 0, 1, 0, 0, 0]);
    }
}
