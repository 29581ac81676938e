//! The host's side of sandboxes with a network: Atoll's own nftables table, the interface pairs, the tracked
//! connections.
//!
//! Nothing of the host's own rules is touched. Forwarding is switched on for the uplink and for the pairs
//! only, not for the host as a whole.

mod connections;
mod elements;
mod message;
mod policies;
mod routes;
mod rules;

use protocol::policy::NetworkPolicy;

pub(super) use self::rules::check;
use rustix::io::Errno;

use self::{connections::Connections, policies::Policies, routes::Routes};
use super::{LauncherConfig, NetworkConfig, ResolverPorts};
use crate::{
    failure::{Step, StepError},
    netlink::{Netlink, interface_index},
    plan::{Instance, NatPlan, Slot},
};

/// The uplink, and what is needed to connect sandboxes to it; nothing where sandboxes get no network.
pub(super) struct Uplink(Option<Parts>);

struct Parts {
    instance: Instance,
    network: NetworkConfig,
    resolver: Option<ResolverPorts>,
    /// None where the kernel does not take rules for them.
    policies: Option<Policies>,
    netlink: Netlink,
    connections: Connections,
    /// The host's routes that the rules were made for.
    routes: Routes,
    mtu: u32,
    serial: u32,
}

/// Ethernet's, where the uplink's is not known.
const MTU_DEFAULT: u32 = 1500;

/// Names tried for one pair.
const NAME_TRIES: u32 = 1024;

impl Uplink {
    /// Sets the table up, if there is to be address translation at all.
    pub(super) fn open(config: &LauncherConfig) -> Result<Self, StepError> {
        let Some(network) = config.network.clone() else { return Ok(Self(None)) };
        let routes = Routes::read()?;
        let resolver = config.resolver;
        // In this order: nothing is let through before the policies are in force.
        let policies = match Policies::open(config.instance, resolver) {
            Ok(policies) => Some(policies),
            Err(error) => {
                super::tell(format_args!("no network policies: {error}"));
                None
            }
        };
        rules::load(config.instance, &network, resolver, &routes.local)?;
        let mtu = routes
            .default_interface
            .as_deref()
            .and_then(|name| std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok())
            .and_then(|mtu| mtu.trim().parse().ok())
            .unwrap_or(MTU_DEFAULT);
        if let Some(name) = &routes.default_interface {
            forwarding_enable(name)?;
        }
        let open = || -> std::io::Result<_> { Ok((Netlink::open()?, Connections::open()?)) };
        let (netlink, connections) = open().step(|| "open netlink sockets".to_owned())?;
        let instance = config.instance;
        Ok(Self(Some(Parts {
            instance,
            network,
            resolver,
            policies,
            netlink,
            connections,
            routes,
            mtu,
            serial: 0,
        })))
    }

    /// Makes a pair between the host and the network namespace of a sandbox's first process. It goes with
    /// that namespace.
    pub(super) fn interface_create(&mut self, nat: &NatPlan, pid: i32) -> Result<(), StepError> {
        match &mut self.0 {
            Some(parts) => parts.interface_create(nat, pid),
            None => Err(StepError::new("make the network interface", Errno::OPNOTSUPP)),
        }
    }

    /// Forgets the connections of a sandbox that has ended, and its policy: the next one with its address is not to
    /// be taken for it, nor charged for them.
    pub(super) fn forget(&mut self, slot: Slot) -> Result<(), StepError> {
        match &mut self.0 {
            Some(Parts { policies, connections, .. }) => {
                let removed = policies.as_mut().map_or(Ok(()), |policies| policies.remove(slot));
                removed.and(connections.forget(slot.address()))
            }
            None => Ok(()),
        }
    }

    /// Takes over the policy of a sandbox that an earlier launcher started.
    pub(super) fn policy_adopt(&mut self, slot: Slot, policy: NetworkPolicy) -> Result<(), StepError> {
        match &mut self.0 {
            Some(Parts { policies: Some(policies), .. }) => policies.adopt(slot, policy),
            _ => Ok(()),
        }
    }

    /// Removes policies of sandboxes that were not taken over.
    pub(super) fn policies_clean(&mut self) -> Result<(), StepError> {
        match &mut self.0 {
            Some(Parts { policies: Some(policies), .. }) => policies.strangers_remove(),
            _ => Ok(()),
        }
    }

    /// The policies, where there are networks and names can be resolved for them.
    pub(super) fn policies(&mut self) -> Result<&mut Policies, StepError> {
        match &mut self.0 {
            Some(Parts { policies: Some(policies), resolver: Some(_), .. }) => Ok(policies),
            _ => Err(StepError::new("use network policies: this server has none", Errno::OPNOTSUPP)),
        }
    }
}

impl Parts {
    fn interface_create(&mut self, nat: &NatPlan, pid: i32) -> Result<(), StepError> {
        self.routes_follow()?;
        let Self { netlink, mtu, serial, .. } = self;
        // A name that another pair still has, on its way out with its namespace, is passed over.
        let mut created = Err(Errno::EXIST);
        let mut name = String::new();
        for _ in 0..NAME_TRIES {
            *serial = (*serial + 1) % 0xff_ffff;
            name = format!("{}{:x}", nat.interface_prefix, serial);
            created = netlink.pair_create(&name, pid.unsigned_abs(), *mtu);
            if created != Err(Errno::EXIST) {
                break;
            }
        }
        let mut configure = || {
            created?;
            let index = interface_index(&name)?;
            netlink.address_add(index, nat.gateway)?;
            netlink.route_add_direct(index, nat.address)
        };
        configure().step(|| format!("make the network interface {name}"))?;
        forwarding_enable(&name)
    }

    /// Makes the rules anew if the host has got other networks since.
    fn routes_follow(&mut self) -> Result<(), StepError> {
        let routes = Routes::read()?;
        if routes != self.routes {
            rules::load(self.instance, &self.network, self.resolver, &routes.local)?;
            self.routes = routes;
        }
        Ok(())
    }
}

fn forwarding_enable(interface: &str) -> Result<(), StepError> {
    let file = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    std::fs::write(&file, "1").step(|| format!("write {file}"))
}
