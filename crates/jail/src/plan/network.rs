//! The network of a sandbox: nothing but loopback, or a pair of interfaces with the host's end behind nftables.

use std::net::Ipv4Addr;

use protocol::policy::NetworkPolicy;

use super::slot::Slot;

/// What the network namespace gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkPlan {
    /// Loopback only.
    Loopback,
    /// Loopback and an interface outwards.
    Nat(NatPlan),
}

/// An interface pair, routed, without a bridge: sandboxes never share a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatPlan {
    /// What the host's end is called, without the serial number that the launcher appends.
    pub interface_prefix: String,
    /// The sandbox's address, the only one on the link besides the gateway.
    pub address: Ipv4Addr,
    /// The host's address on each link.
    pub gateway: Ipv4Addr,
    /// Whom it may reach.
    pub policy: Option<NetworkPolicy>,
}

impl NatPlan {
    /// The plan of a slot.
    #[must_use]
    pub fn of(slot: Slot, policy: Option<NetworkPolicy>) -> Self {
        Self {
            interface_prefix: slot.instance.interface_prefix(),
            address: slot.address(),
            gateway: slot.gateway(),
            policy,
        }
    }
}
