//! Plans: everything a launch will do, as values. Pure functions of the request, the slot and the host.
//!
//! Nothing here touches the system. A plan can be printed and compared without root; `apply` is the
//! only reader that acts on it.

mod capabilities;
mod cgroup;
mod mounts;
mod network;
pub mod seccomp;
mod slot;

pub(crate) use capabilities::HIGHEST as HIGHEST_CAPABILITY;
pub use capabilities::{BOUNDING_SET, Capability};
pub use cgroup::{CgroupPlan, GroupPlan, cgroup_plan};
pub(crate) use mounts::{LOWERS_MAX, OWN_FOLDERS, layer_folders, lower_name};
pub use mounts::{Lower, MountStep, Template, mount_steps};
pub use network::{NatPlan, NetworkPlan};
use protocol::{
    SandboxId,
    launcher::{LaunchSpec, NetworkMode},
};
pub use slot::{IDS_PER_SANDBOX, Instance, SLOTS_PER_INSTANCE, Slot};
pub(crate) use slot::{UNPACKING_FIRST_ID, is_sandbox_id};

use crate::host::HostFacts;

/// The name that a sandbox sees as its own.
pub const HOSTNAME: &str = "sandbox";

/// A launch, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Its share of ids, addresses and names.
    pub slot: Slot,
    /// What `uname -n` says.
    pub hostname: &'static str,
    /// What the writable layer may hold.
    pub disk_bytes: u64,
    /// Its control groups.
    pub cgroup: CgroupPlan,
    /// The steps that make its file system, in order.
    pub mounts: Vec<MountStep>,
    /// Its network.
    pub network: NetworkPlan,
    /// Values of `/proc/sys` files in its own network namespace, set before they become read-only.
    pub sysctls: Vec<(&'static str, &'static str)>,
    /// Limits of each process: setrlimit(2).
    pub rlimits: Vec<ResourceLimit>,
    /// What root inside may still do, to things inside.
    pub capabilities: &'static [Capability],
}

/// One limit of setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// Its name, without `RLIMIT_`.
    pub name: &'static str,
    /// The kernel's number for it (asm-generic/resource.h).
    pub number: u32,
    /// Soft and hard value. The kernel lowers it to what the launcher itself has.
    pub value: u64,
}

/// Turns a request into a plan.
#[must_use]
pub fn launch_plan(spec: &LaunchSpec, slot: Slot, host: &HostFacts) -> LaunchPlan {
    LaunchPlan {
        sandbox: spec.sandbox,
        slot,
        hostname: HOSTNAME,
        disk_bytes: spec.limits.disk_bytes,
        cgroup: cgroup_plan(spec.sandbox, slot.instance, &spec.limits, &host.cgroups),
        mounts: mount_steps(spec, slot, host),
        network: match spec.network {
            NetworkMode::None => NetworkPlan::Loopback,
            NetworkMode::Nat => NetworkPlan::Nat(NatPlan::of(slot, spec.network_policy.clone())),
        },
        sysctls: vec![
            // Docker's values: a sandbox's own network namespace has nobody to protect from its own root.
            ("net/ipv4/ip_unprivileged_port_start", "0"),
            ("net/ipv4/ping_group_range", "0 2147483647"),
        ],
        rlimits: vec![
            ResourceLimit { name: "CORE", number: 4, value: 0 },
            ResourceLimit { name: "NOFILE", number: 7, value: u64::from(spec.limits.open_files) },
            ResourceLimit { name: "MEMLOCK", number: 8, value: 8 << 20 },
            // Timers and queued signals, and bytes in POSIX message queues, of all the sandbox's processes.
            ResourceLimit { name: "SIGPENDING", number: 11, value: 8192 },
            ResourceLimit { name: "MSGQUEUE", number: 12, value: 819_200 },
        ],
        capabilities: BOUNDING_SET,
    }
}

#[cfg(test)]
mod tests;
