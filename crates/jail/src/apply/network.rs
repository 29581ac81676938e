//! The network namespace from the inside: loopback, its own settings, the interface outwards.

use std::os::fd::BorrowedFd;

use crate::{
    failure::{Step, StepError},
    netlink::{Netlink, interface_index},
    plan::NetworkPlan,
    sys,
};

pub(super) fn loopback_up() -> Result<(), StepError> {
    sys::interface_up("lo").step(|| "set lo up".to_owned())
}

/// Writes settings of the own network namespace: `/proc/sys/net` shows each process its own.
pub(super) fn sysctls_write(sysctls: &[(&str, &str)]) -> Result<(), StepError> {
    for (name, value) in sysctls {
        std::fs::write(format!("/proc/sys/{name}"), value).step(|| format!("write sysctl {name}"))?;
    }
    Ok(())
}

/// Waits for the interface pair and configures this end of it.
pub(super) fn interface_configure(plan: &NetworkPlan, ready: BorrowedFd<'_>) -> Result<(), StepError> {
    let NetworkPlan::Nat(nat) = plan else { return Ok(()) };
    let mut byte = [0];
    let count = rustix::io::read(ready, &mut byte).step(|| "wait for the network interface".to_owned())?;
    if count == 0 {
        return Err(StepError::new("wait for the network interface", rustix::io::Errno::NODEV));
    }
    let mut netlink = Netlink::open().step(|| "open a netlink socket".to_owned())?;
    let mut configure = || {
        let index = interface_index("eth0")?;
        netlink.link_up(index)?;
        netlink.address_add(index, nat.address)?;
        netlink.route_add_direct(index, nat.gateway)?;
        netlink.route_add_default(index, nat.gateway)
    };
    configure().step(|| "configure eth0".to_owned())
}
