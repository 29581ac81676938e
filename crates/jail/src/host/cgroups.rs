//! The host's control groups: version 2, version 1, or, as on many hosts, some of both.
//!
//! Follows cgroups(7) and the kernel's admin-guide/cgroup-v2: a controller is in one hierarchy at a time;
//! a version 2 mount without controllers still kills, freezes and counts cpu time.

use std::{fs, io, path::PathBuf};

use protocol::HostPath;

/// What a control group limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// CPU time.
    Cpu,
    /// Processes.
    Pids,
    /// Pausing; only in version 1, part of the core in version 2.
    Freezer,
}

impl Controller {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "cpu" => Some(Self::Cpu),
            "pids" => Some(Self::Pids),
            "freezer" => Some(Self::Freezer),
            _ => None,
        }
    }

    /// Its name in the kernel's files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
            Self::Freezer => "freezer",
        }
    }
}

/// The interface of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy for each controller or few.
    V1,
    /// The unified one.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: CgroupVersion,
    /// Where it is mounted.
    pub mount: HostPath,
    /// Those of the controllers that Atoll uses and that are in it.
    pub controllers: Vec<Controller>,
}

/// All hierarchies that a sandbox gets a group in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupHost {
    /// Version 2 first, if it is there.
    pub hierarchies: Vec<Hierarchy>,
    /// Whether swap can be limited (`memory.memsw.limit_in_bytes`, `memory.swap.max`).
    pub swap_limit: bool,
    /// Whether buffers of TCP sockets have to be limited apart, and can be (`memory.kmem.tcp.limit_in_bytes`).
    /// Version 2 counts sockets as memory.
    pub tcp_limit: bool,
}

impl CgroupHost {
    /// Reads the mounts of this process and the controllers of the version 2 mount.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` can't be read.
    pub fn detect() -> io::Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let host = Self::from_mounts(&mountinfo, |mount| {
            fs::read_to_string(mount.join("cgroup.controllers").as_path()).unwrap_or_default()
        });
        let swap_limit = host.hierarchy(Controller::Memory).is_some_and(|memory| match memory.version {
            CgroupVersion::V1 => memory.mount.join("memory.memsw.limit_in_bytes").as_path().exists(),
            CgroupVersion::V2 => PathBuf::from("/proc/swaps").exists(),
        });
        let tcp_limit = host
            .hierarchy(Controller::Memory)
            .is_some_and(|memory| memory.mount.join("memory.kmem.tcp.limit_in_bytes").as_path().exists());
        Ok(Self { swap_limit, tcp_limit, ..host })
    }

    /// The hierarchies in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    fn from_mounts(mountinfo: &str, controllers_of_v2: impl Fn(&HostPath) -> String) -> Self {
        let mut v2 = Vec::new();
        let mut v1: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4).map(HostPath::new) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if v2.is_empty() => {
                    let names = controllers_of_v2(&mount);
                    let controllers = names.split_whitespace().filter_map(Controller::parse).collect();
                    v2.push(Hierarchy { version: CgroupVersion::V2, mount, controllers });
                }
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<_> = options.split(',').filter_map(Controller::parse).collect();
                    let known = |seen: &Hierarchy| seen.controllers == controllers;
                    if !controllers.is_empty() && !v1.iter().any(known) {
                        v1.push(Hierarchy { version: CgroupVersion::V1, mount, controllers });
                    }
                }
                _ => {}
            }
        }
        if !v2.is_empty() {
            // Version 2 freezes by itself: a version 1 freezer alone would be one more group for nothing.
            v1.retain(|hierarchy| hierarchy.controllers != [Controller::Freezer]);
        }
        v2.extend(v1);
        Self { hierarchies: v2, swap_limit: false, tcp_limit: false }
    }

    /// The hierarchy that has this controller.
    #[must_use]
    pub fn hierarchy(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// The version 2 hierarchy, controllers or not.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == CgroupVersion::V2)
    }

    /// The controllers that are missing although a sandbox needs them.
    #[must_use]
    pub fn missing(&self) -> Vec<Controller> {
        let mut missing: Vec<_> = [Controller::Memory, Controller::Cpu, Controller::Pids]
            .into_iter()
            .filter(|controller| self.hierarchy(*controller).is_none())
            .collect();
        if self.unified().is_none() && self.hierarchy(Controller::Freezer).is_none() {
            missing.push(Controller::Freezer);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_host_has_controllers_in_version_1_and_the_core_in_version_2() {
        let mounts = "\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 25 0:29 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
34 25 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
35 25 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 25 0:32 / /tmp rw - tmpfs tmpfs rw";
        let host = CgroupHost::from_mounts(mounts, |_| "hugetlb".to_owned());
        assert_eq!(host.missing(), []);
        assert_eq!(host.hierarchies.len(), 4);
        assert_eq!(host.unified().unwrap().controllers, []);
        assert_eq!(host.hierarchy(Controller::Cpu).unwrap().version, CgroupVersion::V1);
    }

    #[test]
    fn a_unified_host_has_one_hierarchy() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        let host = CgroupHost::from_mounts(mounts, |_| "cpuset cpu io memory hugetlb pids".to_owned());
        assert_eq!(host.missing(), []);
        assert_eq!(host.hierarchies.len(), 1);
    }

    #[test]
    fn a_host_without_control_groups_lacks_all() {
        assert_eq!(CgroupHost::from_mounts("", |_| String::new()).missing().len(), 4);
    }
}
