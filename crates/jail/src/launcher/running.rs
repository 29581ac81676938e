//! What the launcher knows of a sandbox whose first process it has started.

use std::{os::fd::OwnedFd, time::Instant};

use protocol::{
    SandboxId,
    agent::ExitStatus,
    launcher::{LaunchTimings, Stats},
};

use super::layer_budget::Loan;
use crate::plan::{CgroupPlan, Slot};

/// One sandbox, from clone until what is left of it is removed.
pub(super) struct Running {
    pub(super) sandbox: SandboxId,
    /// Who its end is told to, in [`super::serve::Launcher::events`].
    pub(super) exit_event: u64,
    pub(super) slot: Slot,
    /// Whether it has an interface, and so may have left tracked connections.
    pub(super) has_network: bool,
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) cgroup: CgroupPlan,
    pub(super) phase: Phase,
    /// Its layer was made for this launch, and goes if that fails.
    pub(super) layer_made: bool,
    /// What its layer may hold beyond its limits until it has started.
    pub(super) loan: Option<Loan>,
    /// Requests that wait for its end.
    pub(super) waiting: Vec<Waiting>,
}

/// Where it is.
pub(super) enum Phase {
    /// Its first process applies the plan; the pipe tells how that went.
    Starting {
        /// The request that waits for it; none if it is prepared ahead.
        number: Option<u64>,
        report: OwnedFd,
        timings: LaunchTimings,
        cloned_at: Instant,
    },
    /// The agent runs.
    Live,
    /// All its processes have ended.
    Ended { stats: Stats },
}

/// A request to end it.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    pub(super) number: u64,
    /// The layer goes too.
    pub(super) remove: bool,
}

/// How a process left, from waitid(2).
pub(super) fn exit_status(status: &rustix::process::WaitIdStatus) -> Option<ExitStatus> {
    status
        .exit_status()
        .map(ExitStatus::Exited)
        .or_else(|| status.terminating_signal().map(ExitStatus::Signaled))
}
