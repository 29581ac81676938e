//! Slots: what a running sandbox has for itself alone, derived from one small number.
//!
//! Several servers may run on a host, each an *instance* with ranges of its own. Within an instance each
//! running sandbox holds a slot; from it follow its user ids, its address and its interface's name.

use std::net::Ipv4Addr;

/// User and group ids of each sandbox, as in subuid(5): enough for `nobody` (65534).
pub const IDS_PER_SANDBOX: u32 = 65_536;

/// Sandboxes that one instance can run at once: the addresses of a /22 without those of the network, the
/// gateway and the broadcast.
pub const SLOTS_PER_INSTANCE: u16 = SLOT_STRIDE - 3;

/// Distance between the slots of two instances.
const SLOT_STRIDE: u16 = 1024;

/// First id of the first slot. Above the ranges that systemd uses for containers (to 0x6FFF_FFFF) and
/// those that useradd hands out in /etc/subuid.
const FIRST_ID: u32 = 0x7000_0000;

/// First id of the processes that unpack images: that of a number which no slot has.
pub(crate) const UNPACKING_FIRST_ID: u32 = FIRST_ID + (SLOT_STRIDE as u32 - 1) * IDS_PER_SANDBOX;

/// The addresses of all instances: 10.213.0.0/18, a /22 for each.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([10, 213, 0, 0]);

/// One server's share of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance(u8);

impl Instance {
    /// How many instances a host can have.
    pub const COUNT: u8 = 16;

    /// The instance of this number, below [`Instance::COUNT`].
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name of its control group, below which each sandbox has one; also of its nftables table.
    #[must_use]
    pub fn name(self) -> String {
        format!("atoll-{}", self.0)
    }

    /// What the names of its network interfaces begin with.
    #[must_use]
    pub fn interface_prefix(self) -> String {
        format!("atl{:x}-", self.0)
    }

    /// The addresses of its sandboxes, as network and prefix length.
    #[must_use]
    pub fn network(self) -> (Ipv4Addr, u8) {
        (Ipv4Addr::from(FIRST_ADDRESS + u32::from(self.0) * u32::from(SLOT_STRIDE)), 22)
    }
}

/// One running sandbox's share of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The server.
    pub instance: Instance,
    /// Below [`SLOTS_PER_INSTANCE`]; unique among the sandboxes that run.
    pub number: u16,
}

impl Slot {
    /// The id on the host that is 0 in the sandbox. The next 65,535 are its as well.
    #[must_use]
    pub fn first_id(self) -> u32 {
        let slot = u32::from(self.instance.0) * u32::from(SLOT_STRIDE) + u32::from(self.number);
        FIRST_ID + slot * IDS_PER_SANDBOX
    }

    /// Its address in [`Instance::network`]. The first and the last of the network are left out:
    /// slot 0 has the second address, the gateway the first.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        let (network, _) = self.instance.network();
        Ipv4Addr::from(u32::from(network) + 2 + u32::from(self.number))
    }

    /// The host's address as this sandbox sees it.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        let (network, _) = self.instance.network();
        Ipv4Addr::from(u32::from(network) + 1)
    }
}

/// Whether some slot of some instance has this id on the host.
pub(crate) fn is_sandbox_id(id: u32) -> bool {
    let ids = u32::from(Instance::COUNT) * u32::from(SLOT_STRIDE) * IDS_PER_SANDBOX;
    (FIRST_ID..FIRST_ID + ids).contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_slot_is_a_sandboxs_and_others_are_not() {
        let first = Slot { instance: Instance(0), number: 0 }.first_id();
        let last = Slot { instance: Instance(Instance::COUNT - 1), number: SLOTS_PER_INSTANCE - 1 }
            .first_id()
            + (IDS_PER_SANDBOX - 1);
        assert!(is_sandbox_id(first) && is_sandbox_id(last));
        assert!([0, 61_000, first - 1, u32::MAX].into_iter().all(|id| !is_sandbox_id(id)));
    }

    #[test]
    fn no_two_slots_share_ids_or_addresses() {
        let slots: Vec<Slot> = (0..Instance::COUNT)
            .filter_map(Instance::new)
            .flat_map(|instance| (0..SLOTS_PER_INSTANCE).map(move |number| Slot { instance, number }))
            .collect();
        for pair in slots.windows(2) {
            assert!(
                u64::from(pair[0].first_id()) + u64::from(IDS_PER_SANDBOX) <= u64::from(pair[1].first_id())
            );
            assert!(pair[0].address() < pair[1].address());
        }
        assert!(slots.iter().all(|slot| slot.first_id() != UNPACKING_FIRST_ID));
        assert!(is_sandbox_id(UNPACKING_FIRST_ID));
        let last = slots.last().unwrap();
        assert!(last.first_id().checked_add(IDS_PER_SANDBOX).is_some());
    }
}
