//! Takes a process that is about to read hostile bytes away from the host: what it had open it keeps, of files it
//! sees one folder, and it has the power over nothing else.
//!
//! It must not know what is unpacked.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::CWD,
    mount::{
        MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
        open_tree, unmount,
    },
    process::{WaitId, WaitIdOptions, waitid},
    thread::{self, CapabilitySet, CapabilitySets, LinkNameSpaceType},
};

use crate::{
    apply::{become_root_inside, bounding_set_reduce, landlock_restrict},
    failure::{Step, StepError},
    plan::{self, Capability, UNPACKING_FIRST_ID},
    privileges::end_with_parent,
    sys::{self, Cloned, MountAttributes, mount_attribute, namespace},
    user_namespace::user_namespace_create,
};

/// What giving files their owners, modes and capabilities needs.
const CAPABILITIES: [&str; 5] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP"];

/// Memory that it may address: what expands without end ends there.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Limits of setrlimit(2): number, value.
const LIMITS: [(u32, u64); 3] = [
    (linux_raw_sys::general::RLIMIT_AS, MEMORY_BYTES_MAX),
    (linux_raw_sys::general::RLIMIT_CORE, 0),
    (linux_raw_sys::general::RLIMIT_NOFILE, 64),
];

/// Goes on in a process whose root is the folder that this one is in, as user 0 of a user namespace of its own whose
/// 65,536 ids are nobody's on the host. In the folder they are what they are called: 0 is 0. There is no network, no
/// other process, no device and no `/proc`.
///
/// To be called by root, with one thread. It returns in the confined process only: this one waits for it, and ends as
/// it does.
///
/// # Errors
/// The step that failed. The process must not read anything then.
pub fn confine() -> Result<(), StepError> {
    end_with_parent()?;
    let user_namespace = user_namespace_create(UNPACKING_FIRST_ID)?;
    let namespaces = namespace::MOUNT | namespace::PID | namespace::NETWORK | namespace::IPC | namespace::UTS;
    match sys::clone_into(namespaces, None).step(|| "clone into namespaces".to_owned())? {
        Cloned::Parent { pidfd, .. } => sys::exit_now(status_of(&pidfd)),
        Cloned::Child => enter(&user_namespace),
    }
}

fn enter(user_namespace: &OwnedFd) -> Result<(), StepError> {
    root_enter(user_namespace).step(|| "make the folder the root".to_owned())?;
    thread::move_into_link_name_space(user_namespace.as_fd(), Some(LinkNameSpaceType::User))
        .step(|| "enter the user namespace".to_owned())?;
    become_root_inside().step(|| "become root of the user namespace".to_owned())?;
    // A change of user takes it away.
    end_with_parent()?;
    for (number, value) in LIMITS {
        sys::resource_limit(number, value, value).step(|| format!("set the resource limit {number}"))?;
    }
    let keep: Vec<Capability> = plan::BOUNDING_SET
        .iter()
        .copied()
        .filter(|capability| CAPABILITIES.contains(&capability.name))
        .collect();
    bounding_set_reduce(&keep)?;
    let kept = keep.iter().fold(0, |bits, capability| bits | 1_u64 << capability.number);
    let kept = CapabilitySet::from_bits_retain(kept);
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    thread::set_capabilities(None, sets).step(|| "drop capabilities".to_owned())?;
    thread::set_no_new_privs(true).step(|| "set no_new_privs".to_owned())?;
    landlock_restrict()?;
    sys::seccomp_install(&plan::seccomp::compile()).step(|| "install the seccomp filter".to_owned())
}

/// Makes the folder that this process is in its root, with the ids of the user namespace.
fn root_enter(user_namespace: &OwnedFd) -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let folder = open_tree(CWD, ".", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let attributes = MountAttributes {
        set: mount_attribute::NOSUID | mount_attribute::NODEV | mount_attribute::NOEXEC,
        idmap: Some(user_namespace.as_fd()),
        recursive: false,
    };
    sys::mount_set_attributes(folder.as_fd(), attributes)?;
    move_mount(folder.as_fd(), "", CWD, ".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(&folder)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// How a process ended, as a shell says it.
fn status_of(process: &OwnedFd) -> i32 {
    loop {
        match waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(Some(ended)) => {
                let signal = || ended.terminating_signal().map_or(1, |signal| 128 + signal);
                return ended.exit_status().unwrap_or_else(signal);
            }
            _ => return 1,
        }
    }
}
