//! User namespaces with ids of the host that nobody else has. It must not know who gets which.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, Signal, set_parent_process_death_signal};

use crate::{
    apply::as_user,
    failure::{Step, StepError},
    plan::IDS_PER_SANDBOX,
    sys,
};

/// Makes a user namespace whose ids 0 to 65,535 are those from `first_id` on (user_namespaces(7)).
///
/// A process has to be born in it for that; it is gone again before this returns. It is made as the slot's first
/// user: what the kernel counts by user (inotify instances, queued signals, timers) is counted in the namespace,
/// and once more for the user who made it. As the host's root, all sandboxes would share what root may have.
pub(crate) fn user_namespace_create(first_id: u32) -> Result<OwnedFd, StepError> {
    let map = format!("0 {first_id} {IDS_PER_SANDBOX}");
    namespace_create(first_id, [&map, &map])
}

/// Makes a user namespace in which a file's owner and group are the sandbox's root and its group, and no other id is
/// anybody: for mounts, nothing ever runs in it.
pub(crate) fn owner_namespace_create(first_id: u32, owner: (u32, u32)) -> Result<OwnedFd, StepError> {
    let (user, group) = (format!("{} {first_id} 1", owner.0), format!("{} {first_id} 1", owner.1));
    namespace_create(first_id, [&user, &group])
}

fn namespace_create(first_id: u32, maps: [&str; 2]) -> Result<OwnedFd, StepError> {
    let launcher = rustix::process::getpid();
    let clone = || match sys::clone_into(sys::namespace::USER, None)? {
        // Here already: it must not go on as a second launcher.
        sys::Cloned::Child => helper_wait(launcher),
        sys::Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
    };
    let (pid, pidfd) = as_user(first_id, clone).step(|| "clone into a user namespace".to_owned())?;
    let made = user_namespace_map(pid, maps);
    let killed = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL)
        .and_then(|()| {
            rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            )
        })
        .step(|| "end the helper of the user namespace".to_owned());
    killed.and(made)
}

/// Waits to be killed. Ends with the launcher as well: it holds the lock that the next one waits for.
fn helper_wait(launcher: Pid) -> ! {
    let told = set_parent_process_death_signal(Some(Signal::KILL));
    // It may have died before that.
    if told.is_ok() && rustix::process::getppid() == Some(launcher) {
        sys::sleep_for_ever()
    }
    sys::exit_now(1)
}

fn user_namespace_map(pid: i32, maps: [&str; 2]) -> Result<OwnedFd, StepError> {
    for (file, map) in ["uid_map", "gid_map"].into_iter().zip(maps) {
        std::fs::write(format!("/proc/{pid}/{file}"), map).step(|| format!("write {file}"))?;
    }
    let path = format!("/proc/{pid}/ns/user");
    std::fs::File::open(&path).map(OwnedFd::from).step(|| "open the user namespace".to_owned())
}
