//! Control groups of a sandbox, from the outside: made, read, frozen, killed, removed.

use std::{collections::BTreeSet, fs::File, io::ErrorKind, os::fd::OwnedFd, time::Duration};

use protocol::{HostPath, SandboxId, launcher::Stats};
use rustix::io::Errno;

use crate::{
    failure::{Step, StepError},
    host::{CgroupHost, CgroupVersion, Controller},
    plan::{CgroupPlan, GroupPlan, Instance},
};

/// Makes the folder of this instance in each hierarchy, below which sandboxes get theirs.
pub(super) fn instance_make(host: &CgroupHost, instance: Instance) -> Result<(), StepError> {
    for hierarchy in &host.hierarchies {
        let folder = hierarchy.mount.join(instance.name());
        if hierarchy.version == CgroupVersion::V2 && !hierarchy.controllers.is_empty() {
            controllers_enable(&hierarchy.mount, &hierarchy.controllers)?;
        }
        make(&folder)?;
        if hierarchy.version == CgroupVersion::V2 && !hierarchy.controllers.is_empty() {
            controllers_enable(&folder, &hierarchy.controllers)?;
        }
    }
    Ok(())
}

/// The sandboxes that have a group under an instance's number, in whatever hierarchy.
pub(super) fn list(host: &CgroupHost, instance: Instance) -> BTreeSet<SandboxId> {
    let folders = host.hierarchies.iter().map(|hierarchy| hierarchy.mount.join(instance.name()));
    folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

fn controllers_enable(folder: &HostPath, controllers: &[Controller]) -> Result<(), StepError> {
    let words: Vec<String> = controllers.iter().map(|controller| format!("+{}", controller.name())).collect();
    let file = folder.join("cgroup.subtree_control");
    std::fs::write(&file, words.join(" ")).step(|| format!("write {file}"))
}

fn make(folder: &HostPath) -> Result<(), StepError> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.step(|| format!("make {folder}")),
    }
}

/// Makes and limits the groups. Returns the version 2 group for clone3, if there is one.
pub(super) fn create(plan: &CgroupPlan) -> Result<Option<OwnedFd>, StepError> {
    let mut unified = None;
    for group in &plan.groups {
        make(&group.folder)?;
        values_write(group)?;
        if group.version == CgroupVersion::V2 {
            let folder = File::open(&group.folder).step(|| format!("open {}", group.folder))?;
            unified = Some(folder.into());
        }
    }
    Ok(unified)
}

/// Gives existing groups other limits, where they differ. Memory is first lowered, or first raised, with
/// swap's limit after or before it: the kernel keeps the one below the other.
pub(super) fn limits_change(from: &CgroupPlan, to: &CgroupPlan) -> Result<(), StepError> {
    for (_, group) in from.groups.iter().zip(&to.groups).filter(|(from, to)| from.writes != to.writes) {
        if values_write(group).is_err() {
            for (file, value) in group.writes.iter().rev() {
                value_write(group, file, value)?;
            }
            values_write(group)?;
        }
    }
    Ok(())
}

fn values_write(group: &GroupPlan) -> Result<(), StepError> {
    group.writes.iter().try_for_each(|(file, value)| value_write(group, file, value))
}

fn value_write(group: &GroupPlan, file: &str, value: &str) -> Result<(), StepError> {
    let file = group.folder.join(file);
    std::fs::write(&file, value).step(|| format!("write {value} to {file}"))
}

/// Kills every process in the groups, frozen or not. Nothing can be started in them while this goes on:
/// version 2 says so of `cgroup.kill` (Linux 5.14); before that they are frozen first.
pub(super) fn kill(plan: &CgroupPlan) -> Result<(), StepError> {
    if let Some(group) = unified(plan) {
        let file = group.folder.join("cgroup.kill");
        match std::fs::write(&file, "1") {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).step(|| format!("write {file}")),
        }
    }
    freeze(plan)?;
    for pid in processes(plan) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(StepError::new("kill the sandbox's processes", errno)),
            }
        }
    }
    thaw(plan)
}

/// Process ids in the sandbox's groups, all of one group being in the others too.
pub(super) fn processes(plan: &CgroupPlan) -> Vec<i32> {
    let Some(group) = plan.groups.first() else { return Vec::new() };
    let list = std::fs::read_to_string(group.folder.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Stops every process in the groups, now and those to come.
pub(super) fn freeze(plan: &CgroupPlan) -> Result<(), StepError> {
    frozen_set(plan, "1", "FROZEN")
}

/// Lets them run again.
pub(super) fn thaw(plan: &CgroupPlan) -> Result<(), StepError> {
    frozen_set(plan, "0", "THAWED")
}

/// Whether they were told to stop.
pub(super) fn is_frozen(plan: &CgroupPlan) -> bool {
    let Some((version, file)) = freezer(plan) else { return false };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match version {
        CgroupVersion::V1 => text.trim() != "THAWED",
        CgroupVersion::V2 => text.trim() == "1",
    }
}

fn freezer(plan: &CgroupPlan) -> Option<(CgroupVersion, HostPath)> {
    match (unified(plan), with(plan, Controller::Freezer)) {
        (Some(group), _) => Some((CgroupVersion::V2, group.folder.join("cgroup.freeze"))),
        (None, Some(group)) => Some((CgroupVersion::V1, group.folder.join("freezer.state"))),
        (None, None) => None,
    }
}

fn frozen_set(plan: &CgroupPlan, v2: &str, v1: &str) -> Result<(), StepError> {
    let (file, value) = match freezer(plan) {
        Some((CgroupVersion::V2, file)) => (file, v2),
        Some((CgroupVersion::V1, file)) => (file, v1),
        None => return Err(StepError::new("freeze: the host has no freezer", Errno::OPNOTSUPP)),
    };
    match std::fs::write(&file, value) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.step(|| format!("write {value} to {file}")),
    }
}

fn unified(plan: &CgroupPlan) -> Option<&GroupPlan> {
    plan.groups.iter().find(|group| group.version == CgroupVersion::V2)
}

fn with(plan: &CgroupPlan, controller: Controller) -> Option<&GroupPlan> {
    plan.groups.iter().find(|group| group.controllers.contains(&controller))
}

/// How often and how long to wait for the kernel to let go of processes that have already ended.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

/// Removes the groups, once their processes have ended.
pub(super) fn remove(plan: &CgroupPlan) -> Result<(), StepError> {
    for group in &plan.groups {
        let mut tries = 0;
        loop {
            match std::fs::remove_dir(&group.folder) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) if error.kind() == ErrorKind::ResourceBusy && tries < REMOVE_TRIES => {
                    tries += 1;
                    std::thread::sleep(REMOVE_PAUSE);
                }
                Err(error) => return Err(error).step(|| format!("remove {}", group.folder)),
            }
        }
    }
    Ok(())
}

/// What matters of a sandbox that has ended: which limits it hit.
pub(super) fn stats_at_end(plan: &CgroupPlan) -> Stats {
    Stats { oom_kills: oom_kills(plan), pids_refused: pids_refused(plan), ..Stats::default() }
}

/// What the groups count.
pub(super) fn stats(plan: &CgroupPlan) -> Stats {
    let number = |controller, v1: &str, v2: &str| -> u64 {
        let Some(group) = with(plan, controller) else { return 0 };
        let file = if group.version == CgroupVersion::V1 { v1 } else { v2 };
        let text = std::fs::read_to_string(group.folder.join(file));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    };
    Stats {
        memory_bytes: number(Controller::Memory, "memory.usage_in_bytes", "memory.current"),
        memory_bytes_max: number(Controller::Memory, "memory.max_usage_in_bytes", "memory.peak"),
        cpu_us: unified(plan).map_or(0, |group| counted(group, "cpu.stat", "usage_usec")),
        pids: number(Controller::Pids, "pids.current", "pids.current"),
        oom_kills: oom_kills(plan),
        pids_refused: pids_refused(plan),
        disk_bytes: None,
        total_left_bytes: None,
    }
}

fn oom_kills(plan: &CgroupPlan) -> u64 {
    with(plan, Controller::Memory).map_or(0, |group| {
        let file = match group.version {
            CgroupVersion::V1 => "memory.oom_control",
            CgroupVersion::V2 => "memory.events",
        };
        counted(group, file, "oom_kill")
    })
}

fn pids_refused(plan: &CgroupPlan) -> u64 {
    with(plan, Controller::Pids).map_or(0, |group| counted(group, "pids.events", "max"))
}

fn counted(group: &GroupPlan, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(group.folder.join(file));
    text.ok().and_then(|text| keyed(&text, name)).unwrap_or_default()
}

/// The number behind `name` in a file of lines `name number`.
fn keyed(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_numbers_are_found_by_whole_names() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(keyed(text, "oom_kill"), Some(3));
        assert_eq!(keyed(text, "oom"), None);
    }
}
