//! How many connections each address has, so that no one takes them all. It must not know what a connection
//! is for.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Connections that loopback leaves to others.
const RESERVE: usize = 256;
/// Of an IPv6 address, what one subscriber has: the rest is theirs to choose.
const SUBSCRIBER_PREFIX: u128 = !0 << 64;

/// The addresses that have connections.
pub(super) struct Addresses {
    per_address: usize,
    loopback: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Addresses {
    /// At most `per_address` connections each, of `connections_max` over all. Loopback, which may be a proxy
    /// with many clients behind it, gets nearly all.
    pub(super) fn new(per_address: usize, connections_max: usize) -> Arc<Self> {
        let loopback = connections_max - RESERVE.min(connections_max / 2);
        Arc::new(Self { per_address, loopback, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection for as long as what is returned lives. `None` if its address has enough.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Entered> {
        let address = counted_as(address);
        let most = if address.is_loopback() { self.loopback } else { self.per_address };
        let mut counts = self.counts();
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(address, count + 1);
        Some(Entered { addresses: Arc::clone(self), address })
    }
}

/// A connection that is counted.
pub(super) struct Entered {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Whom a connection is counted for. All of loopback is one.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & SUBSCRIBER_PREFIX).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_gets_its_number_and_others_theirs() {
        let addresses = Addresses::new(2, 1000);
        let first = addresses.enter(ip("192.0.2.1"));
        let second = addresses.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(addresses.enter(ip("192.0.2.1")).is_none());
        assert!(addresses.enter(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address() {
        let addresses = Addresses::new(1, 1000);
        let _first = addresses.enter(ip("2001:db8:1:2::1")).unwrap();
        assert!(addresses.enter(ip("2001:db8:1:2:ffff::9")).is_none());
        assert!(addresses.enter(ip("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn loopback_may_use_all_but_a_reserve() {
        let addresses = Addresses::new(1, 1000);
        let entered: Vec<_> = (0..2000)
            .filter_map(|n| addresses.enter(if n % 2 == 0 { ip("::1") } else { ip("127.0.0.9") }))
            .collect();
        assert_eq!(entered.len(), 1000 - RESERVE);
        assert!(addresses.enter(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let addresses = Addresses::new(1, 1000);
        drop(addresses.enter(ip("192.0.2.1")));
        assert!(addresses.counts().is_empty());
    }
}
