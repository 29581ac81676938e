//! Changes of sets of addresses, by netlink: they come with answers to questions for names, and whoever asked waits.

use std::net::Ipv4Addr;

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use rustix::io::Errno;

use super::message::{attribute, message, nested, outcome};
use crate::failure::{Step, StepError};

/// `NFNL_SUBSYS_NFTABLES`, and its `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM` (`linux/netfilter/nf_tables.h`).
const SUBSYSTEM: u16 = 10;
const ELEMENTS_NEW: u16 = (SUBSYSTEM << 8) | 12;
const ELEMENTS_DELETE: u16 = (SUBSYSTEM << 8) | 14;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` (`linux/netfilter/nfnetlink.h`).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE` (netlink(7)).
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`; in it `NFTA_SET_ELEM_KEY` and `NFTA_SET_ELEM_TIMEOUT`; in a key `NFTA_DATA_VALUE`.
const ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const VALUE: u16 = 1;

/// Elements in one message: its attribute's length is a number of 16 bits.
const ELEMENTS_MAX: usize = 1024;

/// A change, all of it or nothing.
pub(super) struct Elements {
    table: Vec<u8>,
    messages: Vec<(u16, u16, Vec<u8>)>,
}

impl Elements {
    pub(super) fn new(table: &str) -> Self {
        Self { table: attribute(LIST_TABLE, &terminated(table)), messages: Vec::new() }
    }

    /// Removes addresses from a set, whether they are in it or not: only what is there can be removed.
    pub(super) fn remove(&mut self, set: &str, addresses: &[Ipv4Addr]) {
        for addresses in addresses.chunks(ELEMENTS_MAX) {
            let body = self.body(set, addresses.iter().map(|address| (*address, 1)));
            self.messages.push((ELEMENTS_NEW, CREATE, body));
            let elements: Vec<u8> = addresses.iter().flat_map(|address| element(*address, None)).collect();
            let body = self.list(set, &elements);
            self.messages.push((ELEMENTS_DELETE, 0, body));
        }
    }

    /// Adds addresses to a set, each for so many seconds.
    pub(super) fn add(&mut self, set: &str, addresses: impl Iterator<Item = (Ipv4Addr, u32)>) {
        let addresses: Vec<_> = addresses.collect();
        for addresses in addresses.chunks(ELEMENTS_MAX) {
            let body = self.body(set, addresses.iter().copied());
            self.messages.push((ELEMENTS_NEW, CREATE, body));
        }
    }

    fn body(&self, set: &str, addresses: impl Iterator<Item = (Ipv4Addr, u32)>) -> Vec<u8> {
        let elements: Vec<u8> =
            addresses.flat_map(|(address, seconds)| element(address, Some(seconds))).collect();
        self.list(set, &elements)
    }

    fn list(&self, set: &str, elements: &[u8]) -> Vec<u8> {
        let set = attribute(LIST_SET, &terminated(set));
        // `struct nfgenmsg`: family, version 0, no resource.
        [[INET, 0, 0, 0].as_slice(), &self.table, &set, &nested(LIST_ELEMENTS, elements)].concat()
    }

    /// Makes the change.
    pub(super) fn commit(self) -> Result<(), StepError> {
        let commit = || -> std::io::Result<()> {
            // One of its own: whatever the kernel says on it is about this change.
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.send(&self.bytes(), 0)?;
            let (answer, _) = socket.recv_from_full()?;
            match outcome(&answer) {
                None => Err(Errno::PROTO.into()),
                Some(Ok(())) => Ok(()),
                Some(Err(errno)) => Err(errno.into()),
            }
        };
        if self.messages.is_empty() {
            return Ok(());
        }
        commit().step(|| "change the addresses of a policy".to_owned())
    }

    /// The last message asks for an answer; one that fails gets one anyway, and comes first then.
    fn bytes(&self) -> Vec<u8> {
        // `struct nfgenmsg`, with the subsystem as its resource.
        let about = [&[0, 0], SUBSYSTEM.to_be_bytes().as_slice()].concat();
        let mut bytes = message(BATCH_BEGIN, REQUEST, &about);
        for (at, (kind, flags, body)) in self.messages.iter().enumerate() {
            let last = if at + 1 == self.messages.len() { ACKNOWLEDGE } else { 0 };
            bytes.extend(message(*kind, REQUEST | flags | last, body));
        }
        bytes.extend(message(BATCH_END, REQUEST, &about));
        bytes
    }
}

fn element(address: Ipv4Addr, seconds: Option<u32>) -> Vec<u8> {
    let mut element = nested(ELEMENT_KEY, &attribute(VALUE, &address.octets()));
    if let Some(seconds) = seconds {
        element.extend(attribute(ELEMENT_TIMEOUT, &(u64::from(seconds) * 1000).to_be_bytes()));
    }
    nested(ELEMENT, &element)
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_laid_out_as_the_kernel_reads_it() {
        let mut change = Elements::new("t");
        change.add("s", [(Ipv4Addr::new(192, 0, 2, 1), 60)].into_iter());
        let bytes = change.bytes();
        assert_eq!(bytes.len(), 20 + 68 + 20);
        assert_eq!(&bytes[16..20], [0, 0, 0, 10]);
        assert_eq!(bytes[20..28], [68, 0, 0, 0, 12, 10, 5, 4]);
        assert_eq!(bytes[36..56], [1, 0, 0, 0, 6, 0, 1, 0, b't', 0, 0, 0, 6, 0, 2, 0, b's', 0, 0, 0]);
        assert_eq!(bytes[56..76], [32, 0, 3, 128, 28, 0, 1, 128, 12, 0, 1, 128, 8, 0, 1, 0, 192, 0, 2, 1]);
        assert_eq!(bytes[76..88], [12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0xea, 0x60]);
    }
}
