//! Dropping the server's privileges, for good.

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Gid, Uid},
    thread::{self, CapabilitySet, CapabilitySets},
};

use crate::failure::{Step, StepError};

/// Whether a server may become the user, or group, of this number: it must not be root, nor what the system calls
/// take for "as it is" (`u32::MAX`, which would leave it root), nor have an id of a sandbox's users.
#[must_use]
pub fn may_serve(id: u32) -> bool {
    id != 0 && id != u32::MAX && !crate::plan::is_sandbox_id(id)
}

/// Has this process killed when its parent ends. A change of user undoes it.
///
/// # Errors
/// The step that failed.
pub fn end_with_parent() -> Result<(), StepError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .step(|| "end with the parent".to_owned())
}

/// Makes this process an unprivileged one: another user, no groups, no capabilities (nor ever again any
/// through exec), `no_new_privs`. To be called before threads are started: the calls are per thread.
///
/// # Errors
/// The step that failed. The process must not go on then.
pub fn drop_to(uid: u32, gid: u32) -> Result<(), StepError> {
    if !may_serve(uid) || !may_serve(gid) {
        return Err(StepError::new("drop privileges: that user is not for a server", Errno::INVAL));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    for number in 0..=crate::plan::HIGHEST_CAPABILITY {
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(StepError::new(format!("drop capability {number}"), errno)),
        }
    }
    let drop = || {
        thread::set_thread_groups(&[])?;
        thread::set_thread_res_gid(gid, gid, gid)?;
        thread::set_thread_res_uid(uid, uid, uid)?;
        thread::clear_ambient_capability_set()?;
        let none = CapabilitySet::empty();
        thread::set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        thread::set_no_new_privs(true)?;
        // Nobody of that user, another server say, may read this one's memory.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
    };
    drop().step(|| "drop privileges".to_owned())
}
