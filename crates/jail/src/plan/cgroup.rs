//! Control groups of a sandbox: which folders, which values, and how its first process gets in.

use protocol::{HostPath, SandboxId, limits::Limits};

use super::slot::Instance;
use crate::host::{CgroupHost, CgroupVersion, Controller, Hierarchy};

/// All groups of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlan {
    /// One for each hierarchy of the host.
    pub groups: Vec<GroupPlan>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// Its hierarchy's interface. A version 2 group is entered by clone3, a version 1 group by writing to it.
    pub version: CgroupVersion,
    /// What it limits.
    pub controllers: Vec<Controller>,
    /// Its folder.
    pub folder: HostPath,
    /// Files and values, in the order in which they are written.
    pub writes: Vec<(&'static str, String)>,
}

/// The length of a cpu period: the kernel's default, long enough that a quota does not cost switches.
const CPU_PERIOD_US: u64 = 100_000;

/// What part of its memory limit a sandbox may have in TCP buffers besides, where they are counted apart.
const TCP_SHARE: u64 = 4;

/// Plans the groups of a sandbox.
#[must_use]
pub fn cgroup_plan(sandbox: SandboxId, instance: Instance, limits: &Limits, host: &CgroupHost) -> CgroupPlan {
    let group = |hierarchy: &Hierarchy| GroupPlan {
        version: hierarchy.version,
        controllers: hierarchy.controllers.clone(),
        folder: hierarchy.mount.join(instance.name()).join(sandbox.to_string()),
        writes: hierarchy
            .controllers
            .iter()
            .flat_map(|controller| writes(*controller, hierarchy.version, limits, host))
            .collect(),
    };
    CgroupPlan { groups: host.hierarchies.iter().map(group).collect() }
}

fn writes(
    controller: Controller,
    version: CgroupVersion,
    limits: &Limits,
    host: &CgroupHost,
) -> Vec<(&'static str, String)> {
    let quota_us = u64::from(limits.cpu_millis) * CPU_PERIOD_US / 1000;
    let memory = limits.memory_bytes.to_string();
    let tcp = (limits.memory_bytes / TCP_SHARE).to_string();
    let swap = |file, value: &str| host.swap_limit.then(|| (file, value.to_owned()));
    match (controller, version) {
        (Controller::Memory, CgroupVersion::V1) => [("memory.limit_in_bytes", memory.clone())]
            .into_iter()
            // Memory and swap together at the limit of memory alone: no swap.
            .chain(swap("memory.memsw.limit_in_bytes", &memory))
            .chain((!host.swap_limit).then(|| ("memory.swappiness", "0".to_owned())))
            .chain(host.tcp_limit.then(|| ("memory.kmem.tcp.limit_in_bytes", tcp.clone())))
            .collect(),
        (Controller::Memory, CgroupVersion::V2) => {
            [("memory.max", memory)].into_iter().chain(swap("memory.swap.max", "0")).collect()
        }
        (Controller::Cpu, CgroupVersion::V1) => {
            vec![("cpu.cfs_period_us", CPU_PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota_us.to_string())]
        }
        (Controller::Cpu, CgroupVersion::V2) => vec![("cpu.max", format!("{quota_us} {CPU_PERIOD_US}"))],
        (Controller::Pids, _) => vec![("pids.max", limits.pids.to_string())],
        (Controller::Freezer, _) => Vec::new(),
    }
}
