//! The kernel's table of tracked connections: forgetting those of one address.

use std::net::Ipv4Addr;

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;

use crate::failure::{Step, StepError};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE` (`linux/netfilter/nfnetlink.h`,
/// `nfnetlink_conntrack.h`).
const CONNECTIONS_DELETE: u16 = (1 << 8) | 2;
/// `NLM_F_REQUEST | NLM_F_ACK` (netlink(7)).
const FLAGS: u16 = 1 | 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `CTA_TUPLE_ORIG`, in it `CTA_TUPLE_IP`, in it `CTA_IP_V4_SRC`.
const TUPLE_OF_SENDER: u16 = 1;
const TUPLE_IP: u16 = 1;
const IP_SOURCE: u16 = 1;
/// `CTA_FILTER`, in it `CTA_FILTER_ORIG_FLAGS`; the flag `CTA_FILTER_F_CTA_IP_SRC`.
const FILTER: u16 = 25;
const FILTER_OF_SENDER: u16 = 1;
const BY_SOURCE: u32 = 1;
/// Where the error number is in an answer, behind the header: `struct nlmsgerr`.
const ERROR_AT: usize = 16;

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
            self.0.send(&message(source), 0)?;
            let (answer, _) = self.0.recv_from_full()?;
            let code = answer.get(ERROR_AT..ERROR_AT + 4).and_then(|bytes| bytes.try_into().ok());
            match code.map(i32::from_ne_bytes) {
                Some(0) => Ok(()),
                Some(code) => match Errno::from_raw_os_error(code.saturating_neg()) {
                    Errno::INVAL | Errno::NOENT | Errno::OPNOTSUPP => Ok(()),
                    errno => Err(errno.into()),
                },
                None => Err(Errno::PROTO.into()),
            }
        };
        forget().step(|| format!("forget the connections of {source}"))
    }
}

fn message(source: Ipv4Addr) -> Vec<u8> {
    let address = attribute(IP_SOURCE, &source.octets());
    let tuple = attribute(TUPLE_OF_SENDER | NESTED, &attribute(TUPLE_IP | NESTED, &address));
    let filter = attribute(FILTER | NESTED, &attribute(FILTER_OF_SENDER, &BY_SOURCE.to_ne_bytes()));
    // `struct nfgenmsg`: AF_INET, version 0, no resource.
    let body = [&[2, 0, 0, 0], tuple.as_slice(), filter.as_slice()].concat();
    // `struct nlmsghdr`: length, type, flags, number, sender (the kernel fills it in).
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(CONNECTIONS_DELETE.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// An attribute: length without padding, kind, value, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let bytes = message(Ipv4Addr::new(10, 213, 0, 2));
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..4], u32::try_from(bytes.len()).unwrap().to_ne_bytes());
        assert_eq!(&bytes[20..36], [16, 0, 1, 128, 12, 0, 1, 128, 8, 0, 1, 0, 10, 213, 0, 2]);
        assert_eq!(&bytes[36..], [12, 0, 25, 128, 8, 0, 1, 0, 1, 0, 0, 0]);
    }
}
