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
    let launcher = rustix::process::getpid();
    let clone = || match sys::clone_into(sys::namespace::USER, None)? {
        // Here already: it must not go on as a second launcher.
        sys::Cloned::Child => helper_wait(launcher),
        sys::Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
    };
    let (pid, pidfd) = as_user(first_id, clone).step(|| "clone into a user namespace".to_owned())?;
    let made = user_namespace_map(pid, first_id);
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

fn user_namespace_map(pid: i32, first_id: u32) -> Result<OwnedFd, StepError> {
    let map = format!("0 {first_id} {IDS_PER_SANDBOX}");
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{file}"), &map).step(|| format!("write {file}"))?;
    }
    let path = format!("/proc/{pid}/ns/user");
    std::fs::File::open(&path).map(OwnedFd::from).step(|| "open the user namespace".to_owned())
}
