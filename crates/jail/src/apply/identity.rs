//! Giving up power: into the user namespace, out of capabilities, under Landlock and seccomp.

use rustix::{
    io::Errno,
    process::{Gid, Uid},
    thread::{self, CapabilitySet, LinkNameSpaceType},
};

use super::Parts;
use crate::{
    failure::{Step, StepError},
    plan::{self, LaunchPlan},
    sys,
};

/// The last steps before exec, each of which takes away what the one before still needed.
pub(super) fn assume(plan: &LaunchPlan, parts: &Parts<'_>) -> Result<(), StepError> {
    thread::move_into_link_name_space(parts.user_namespace, Some(LinkNameSpaceType::User))
        .step(|| "enter the user namespace".to_owned())?;
    become_root_inside().step(|| "become root of the user namespace".to_owned())?;
    for limit in &plan.rlimits {
        lower_limit(limit).step(|| format!("set RLIMIT_{}", limit.name))?;
    }
    bounding_set_reduce(plan.capabilities)?;
    thread::set_no_new_privs(true).step(|| "set no_new_privs".to_owned())?;
    landlock_restrict()?;
    sys::seccomp_install(parts.seccomp).step(|| "install the seccomp filter".to_owned())
}

/// Does something as another user, with all capabilities kept (credentials(7), "effective").
pub(crate) fn as_user<T>(id: u32, act: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    let capabilities = thread::capabilities(None)?;
    thread::set_thread_res_gid(Gid::ROOT, gid, Gid::ROOT)?;
    thread::set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT)?;
    // Leaving user 0 took the effective ones; the permitted ones stayed.
    thread::set_capabilities(None, capabilities)?;
    let done = act();
    thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    done
}

/// Becomes user and group 0 of the user namespace, without other groups.
pub(crate) fn become_root_inside() -> rustix::io::Result<()> {
    thread::set_thread_groups(&[])?;
    thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Sets a limit, or what the launcher itself has if that is less: raising needs `CAP_SYS_RESOURCE` over the
/// host, which is not always there and is gone here.
fn lower_limit(limit: &plan::ResourceLimit) -> rustix::io::Result<()> {
    match sys::resource_limit(limit.number, limit.value, limit.value) {
        Err(Errno::PERM) => Ok(()),
        other => other,
    }
}

/// Drops every capability that is not in `keep` for ever. Exec then gives root what is left.
pub(crate) fn bounding_set_reduce(keep: &[plan::Capability]) -> Result<(), StepError> {
    for number in 0..=plan::HIGHEST_CAPABILITY {
        if keep.iter().any(|capability| capability.number == number) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // Above the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(StepError::new(format!("drop capability {number}"), errno)),
        }
    }
    Ok(())
}

/// A second wall behind the mount namespace: no file outside of the present root, by whatever descriptor,
/// and no signals or abstract sockets out of the sandbox. Does what the kernel's Landlock can.
pub(crate) fn landlock_restrict() -> Result<(), StepError> {
    use landlock::{
        ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreatedAttr, RulesetError, Scope,
    };
    let failed = |error: &dyn std::fmt::Display| {
        StepError::new(format!("restrict with Landlock: {error}"), Errno::PERM)
    };
    let root = PathFd::new("/").map_err(|error| failed(&error))?;
    let restrict = || -> Result<(), RulesetError> {
        let everything = AccessFs::from_all(ABI::V6);
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .add_rule(PathBeneath::new(root, everything))?
            .restrict_self()?;
        Ok(())
    };
    restrict().map_err(|error| failed(&error))
}
