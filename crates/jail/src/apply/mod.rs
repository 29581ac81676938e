//! Applies a plan, in the process that becomes the sandbox's first: straight through, then exec.
//!
//! It starts as root of the host in fresh namespaces and ends as the agent, without power over anything but
//! its sandbox. It decides nothing: what to do is in the plan, what to do it with in [`Parts`].

mod groups;
mod identity;
mod mounts;
mod network;
mod volumes;

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd},
};

pub(crate) use identity::{as_user, become_root_inside, bounding_set_reduce, landlock_restrict};
use protocol::HostPath;
pub(crate) use volumes::{HostOwner, owner_of, source_open};

use crate::{
    failure::{Step, StepError},
    plan::LaunchPlan,
    sys,
};

/// What the launcher has at hand for a launch. Descriptors are inherited, paths are of the host.
pub(crate) struct Parts<'a> {
    /// The user namespace of the plan's slot, its ids mapped.
    pub(crate) user_namespace: BorrowedFd<'a>,
    /// The sandbox's writable layer.
    pub(crate) layer: &'a HostPath,
    /// Trees that all sandboxes share.
    pub(crate) trees: &'a Trees,
    /// The folder of the volumes of the storage.
    pub(crate) volumes: &'a HostPath,
    /// Folders of the host below which volumes may be.
    pub(crate) volume_prefixes: &'a [HostPath],
    /// The owners of those that are, by their place in the request.
    pub(crate) volume_owners: &'a [Option<HostOwner>],
    /// The agent's program.
    pub(crate) agent: BorrowedFd<'a>,
    /// The socket that the agent accepts connections on.
    pub(crate) listener: BorrowedFd<'a>,
    /// Gives a byte when the interface pair is there.
    pub(crate) interface_ready: BorrowedFd<'a>,
    /// The seccomp program.
    pub(crate) seccomp: &'a [sys::FilterInstruction],
}

/// Trees that all sandboxes share, by their paths in the launcher's own mount namespace.
#[derive(Clone, Debug)]
pub(crate) struct Trees {
    /// A file system in memory with empty folders, to attach mounts to on the way.
    pub(crate) scratch: HostPath,
    /// The skeleton of the `host` image.
    pub(crate) host_skeleton: HostPath,
    /// The installed toolchains.
    pub(crate) toolchains: HostPath,
}

impl Trees {
    /// The tree of device nodes.
    pub(crate) fn dev(&self) -> HostPath {
        self.scratch.join("dev")
    }

    /// The tree for `/sys`.
    pub(crate) fn sys(&self) -> HostPath {
        self.scratch.join("sys")
    }

    /// Where a sandbox's root is put together.
    pub(crate) fn root(&self) -> HostPath {
        self.scratch.join("root")
    }

    /// Where the read-only trees of overlays are attached, each in a folder called as that of the layer.
    pub(crate) fn lower(&self) -> HostPath {
        self.scratch.join("lower")
    }

    /// Where the writable layer is attached.
    pub(crate) fn layer(&self) -> HostPath {
        self.scratch.join("layer")
    }
}

/// The descriptor that the agent finds its socket at.
const LISTENER_FD: i32 = 3;

/// Becomes the agent. Returns only when a step fails.
pub(crate) fn become_agent(plan: &LaunchPlan, parts: &Parts<'_>) -> StepError {
    match prepare(plan, parts) {
        Err(error) => error,
        Ok(()) => {
            let (argv, envp) = (vec![CString::from(c"atoll-agent"), CString::from(c"pid1")], Vec::new());
            StepError::new("exec the agent", sys::exec_fd(parts.agent, &argv, &envp))
        }
    }
}

fn prepare(plan: &LaunchPlan, parts: &Parts<'_>) -> Result<(), StepError> {
    groups::enter(&plan.cgroup)?;
    rustix::system::sethostname(plan.hostname.as_bytes()).step(|| "set the hostname".to_owned())?;
    network::loopback_up()?;
    network::sysctls_write(&plan.sysctls)?;
    mounts::build(plan, parts)?;
    network::interface_configure(&plan.network, parts.interface_ready)?;
    descriptors_place(parts)?;
    identity::assume(plan, parts)
}

/// `/dev/null` as the three standard descriptors, the socket as the fourth, and nothing else across exec.
fn descriptors_place(parts: &Parts<'_>) -> Result<(), StepError> {
    use rustix::fs::{Mode, OFlags};
    let place = || -> rustix::io::Result<()> {
        let listener = sys::fd_copy_above(parts.listener, LISTENER_FD + 1)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let null = sys::fd_copy_above(null, LISTENER_FD + 1)?;
        for number in 0..LISTENER_FD {
            sys::fd_place(null.as_fd(), number)?;
        }
        sys::fd_place(listener.as_fd(), LISTENER_FD)?;
        sys::fds_close_on_exec_from(LISTENER_FD as u32 + 1)
    };
    place().step(|| "place the agent's descriptors".to_owned())
}
