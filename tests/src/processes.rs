//! Processes of the host, from proc(5).

use std::fs;

/// A field of `/proc/<pid>/status`, without the space around it; `None` when the process is gone.
#[must_use]
pub fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
    Some(line[name.len() + 1..].trim().to_owned())
}

/// Whether it has ended, and at most waits for its parent to notice.
#[must_use]
pub fn has_ended(pid: u32) -> bool {
    status_field(pid, "State").is_none_or(|state| state.starts_with(['Z', 'X']))
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The processes that this one started, and that still run.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let parent = pid.to_string();
    pids()
        .into_iter()
        .filter(|child| {
            status_field(*child, "PPid").as_deref() == Some(parent.as_str()) && !has_ended(*child)
        })
        .collect()
}

/// All processes that descend from this one.
#[must_use]
pub fn pids_below(pid: u32) -> Vec<u32> {
    let mut below = children_of(pid);
    let mut next = 0;
    while next < below.len() {
        let more = children_of(below[next]);
        below.extend(more);
        next += 1;
    }
    below
}

/// Processes whose real user id is in this range.
#[must_use]
pub(crate) fn pids_of_users(ids: &std::ops::Range<u32>) -> Vec<u32> {
    let user = |pid: &u32| {
        let ids = status_field(*pid, "Uid")?;
        ids.split_whitespace().next()?.parse::<u32>().ok()
    };
    pids().into_iter().filter(|pid| user(pid).is_some_and(|id| ids.contains(&id))).collect()
}
