//! The host's routes, as far as the rules depend on them.

use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::failure::{Step, StepError};

/// Shorter prefixes are ways to the Internet in two halves, as some tunnels have them, not networks.
const PREFIX_MIN: u32 = 8;

/// What the main routing table says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Routes {
    /// The interface of the default route.
    pub(super) default_interface: Option<String>,
    /// Networks with a route of their own, as address and prefix length; sandboxes' own left out.
    pub(super) local: Vec<String>,
}

impl Routes {
    pub(super) fn read() -> Result<Self, StepError> {
        Ok(Self::of(&table_read()?))
    }

    /// Reads the form of `/proc/net/route`.
    fn of(table: &str) -> Self {
        let mut routes = Self { default_interface: None, local: Vec::new() };
        for (interface, destination, length) in entries(table) {
            if destination.is_unspecified() && length == 0 {
                routes.default_interface.get_or_insert_with(|| interface.to_owned());
            } else if length >= PREFIX_MIN && !interface.starts_with("atl") {
                routes.local.push(format!("{destination}/{length}"));
            }
        }
        routes.local.sort();
        routes.local.dedup();
        routes
    }
}

/// The interface that a sandbox's address alone is behind.
pub(super) fn interface_of(address: Ipv4Addr) -> Result<String, StepError> {
    let table = table_read()?;
    let found = entries(&table).find(|(_, destination, length)| *destination == address && *length == 32);
    found
        .map(|(interface, ..)| interface.to_owned())
        .ok_or_else(|| StepError::new(format!("find the interface of {address}"), Errno::NODEV))
}

fn table_read() -> Result<String, StepError> {
    std::fs::read_to_string("/proc/net/route").step(|| "read /proc/net/route".to_owned())
}

/// Interface, destination and length of the prefix of each route. There is a heading, then interface, destination,
/// gateway, flags, three counters and the mask, addresses in hexadecimal in the machine's byte order.
fn entries(table: &str) -> impl Iterator<Item = (&str, Ipv4Addr, u32)> {
    table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, _, _, _, _, _, mask, ..] = words.as_slice() else { return None };
        let address =
            |word: &str| u32::from_str_radix(word, 16).map(|number| Ipv4Addr::from(number.to_ne_bytes()));
        Some((*interface, address(destination).ok()?, address(mask).ok()?.to_bits().leading_ones()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_the_host_are_found_and_those_of_sandboxes_left_out() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     atl0-8\t0300D50A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
                     tun0\t00000080\t0100000A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n\
                     eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     eth0\t000200C0\t00000000\t0001\t0\t0\t9\t00FFFFFF\t0\t0\t0\n";
        let routes = Routes::of(table);
        assert_eq!(routes.default_interface.as_deref(), Some("eth0"));
        assert_eq!(routes.local, ["192.0.2.0/24"]);
    }
}
