//! What this host offers, as a value: found out once, then only read.
//!
//! Nothing here changes the host. Plans are made from these facts alone, so that a test can make them up.

mod cgroups;

pub use cgroups::{CgroupHost, CgroupVersion, Controller, Hierarchy};

/// Facts that plans depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Where control groups are.
    pub cgroups: CgroupHost,
    /// `/proc` files and folders that Docker masks and that this kernel has.
    pub proc_masked: Vec<&'static str>,
    /// `/proc` files and folders that are read-only in containers and that this kernel has.
    pub proc_read_only: Vec<&'static str>,
}

/// Hidden in a sandbox: they tell of the host, or of its hardware. The list is Docker's and containerd's
/// (`MaskedPaths` of the OCI runtime specification), and one more: whoever may write in `pressure` makes the host
/// watch its load, as often as he likes and at the host's cost.
const PROC_MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/kallsyms",
];

/// Read-only in a sandbox (`ReadonlyPaths` of the OCI runtime specification).
const PROC_READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl HostFacts {
    /// Looks at the running host.
    ///
    /// # Errors
    /// When `/proc` or the control groups can't be read.
    pub fn detect() -> std::io::Result<Self> {
        let exists = |path: &&'static str| std::path::Path::new(path).exists();
        Ok(Self {
            cgroups: CgroupHost::detect()?,
            proc_masked: PROC_MASKED.into_iter().filter(exists).collect(),
            proc_read_only: PROC_READ_ONLY.into_iter().filter(exists).collect(),
        })
    }
}
