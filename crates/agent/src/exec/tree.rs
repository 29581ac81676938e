//! Which processes are an exec's, and signals to all of them.
//!
//! An exec's tree is its main process, what shares its session or process group, orphans that bear its mark,
//! and whatever descends from any of these. The agent and other execs are never part of it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    process_table::{Process, process_signal, processes_list},
    state::Exec,
};
use crate::{agent::Agent, sys};

/// How often the tree is looked through for processes that were not stopped yet. A fork bomb is bounded by
/// the sandbox's process limit, and what is stopped can't fork, so far fewer suffice.
const STOP_ROUNDS_MAX: u32 = 32;
/// How often it is looked through for processes that still live after SIGKILL.
const KILL_ROUNDS_MAX: u32 = 64;
/// How long the kernel gets to end what was killed, before the next look.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// Sends a signal once to each process of the tree. The main process and its group get it at the same moment: a shell that
/// starts one short command after another is to be hit together with the one that it waits for just then.
pub(crate) fn tree_signal(agent: &Agent, exec: &Exec, signal: i32) {
    let tree = tree_of(agent, exec, &processes_list());
    // Nothing can be done about those that ended meanwhile, and they need no signal.
    let has_group = tree.iter().any(|process| process.pid == exec.pid && process.group == exec.pid);
    if has_group {
        let _ = sys::group_signal(exec.pid, signal);
    }
    for process in tree.iter().filter(|process| !has_group || process.group != exec.pid) {
        let _ = process_signal(process, signal);
    }
}

/// Kills the whole tree. Returns when nothing of it lives, or the rounds are over.
///
/// All of it is stopped first: a parent that dies hands its children to the agent, where only a mark tells
/// whose they were, and a process that still runs can fork faster than it is found.
pub(crate) async fn tree_kill(agent: &Agent, exec: &Exec) {
    let mut known = HashSet::new();
    for _ in 0..STOP_ROUNDS_MAX {
        let mut new = tree_of(agent, exec, &processes_list());
        new.retain(|process| known.insert(identity(process)));
        if new.is_empty() {
            break;
        }
        for process in &new {
            let _ = process_signal(process, sys::number::SIGSTOP);
        }
        tokio::task::yield_now().await;
    }
    for _ in 0..KILL_ROUNDS_MAX {
        let mut living = processes_list();
        known.extend(tree_of(agent, exec, &living).iter().map(identity));
        living.retain(|process| !process.is_zombie && known.contains(&identity(process)));
        if living.is_empty() {
            return;
        }
        for process in &living {
            let _ = process_signal(process, sys::number::SIGKILL);
        }
        tokio::time::sleep(KILL_PAUSE).await;
    }
}

/// What names a process for ever.
fn identity(process: &Process) -> (i32, u64) {
    (process.pid, process.start_ticks)
}

fn tree_of(agent: &Agent, exec: &Exec, table: &[Process]) -> Vec<Process> {
    let own = std::process::id().cast_signed();
    // Once reaped, its number may be another's.
    let main = (!exec.has_exited()).then_some(exec.pid);
    let is_foreign = |pid| pid == own || (Some(pid) != main && agent.execs.is_main_process(pid));
    tree_select(table, own, main, is_foreign, |pid| exec.mark.is_on(pid))
}

/// The processes of one tree. `own` is the agent, to which orphans are handed; what `is_foreign` is left out
/// with all that descends from it.
fn tree_select(
    table: &[Process],
    own: i32,
    main: Option<i32>,
    is_foreign: impl Fn(i32) -> bool,
    is_marked: impl Fn(i32) -> bool,
) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    let mut open: Vec<&Process> = Vec::new();
    for process in table.iter().filter(|process| !is_foreign(process.pid)) {
        children.entry(process.parent).or_default().push(process);
        let is_member =
            main.is_some_and(|main| [process.pid, process.group, process.session].contains(&main));
        if is_member || (process.parent == own && is_marked(process.pid)) {
            open.push(process);
        }
    }
    let mut seen = HashSet::new();
    let mut tree = Vec::new();
    while let Some(process) = open.pop() {
        if seen.insert(process.pid) {
            tree.push(*process);
            open.extend(children.get(&process.pid).into_iter().flatten());
        }
    }
    tree.retain(|process| !process.is_zombie);
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, session: i32) -> Process {
        Process { pid, parent, group: session, session, start_ticks: 0, is_zombie: false }
    }

    fn pids(table: &[Process], main: Option<i32>, foreign: &[i32], marked: &[i32]) -> Vec<i32> {
        let mut pids: Vec<i32> = tree_select(
            table,
            1,
            main,
            |pid| pid == 1 || foreign.contains(&pid),
            |pid| marked.contains(&pid),
        )
        .iter()
        .map(|process| process.pid)
        .collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn descendants_sessions_and_marked_orphans_belong() {
        let table = [
            process(1, 0, 1),
            process(10, 1, 10),  // the main process
            process(11, 10, 10), // its child
            process(12, 11, 12), // a grandchild with a session of its own
            process(13, 1, 10),  // an orphan of the same session
            process(14, 1, 14),  // a daemon that bears the mark
            process(15, 14, 15), // the daemon's child
            process(16, 1, 16),  // a daemon of somebody else
        ];
        assert_eq!(pids(&table, Some(10), &[], &[14]), [10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn the_agent_and_other_execs_never_belong() {
        let table = [process(1, 0, 1), process(10, 1, 10), process(20, 1, 20), process(21, 20, 20)];
        assert_eq!(pids(&table, Some(10), &[20], &[10, 20]), [10]);
        assert_eq!(pids(&table, None, &[20], &[]), [0; 0]);
    }

    #[test]
    fn marks_count_on_orphans_only() {
        let table = [process(1, 0, 1), process(10, 1, 10), process(20, 1, 20), process(21, 20, 21)];
        assert_eq!(pids(&table, Some(10), &[20], &[21]), [10]);
    }

    #[test]
    fn zombies_are_not_signalled() {
        let zombie = Process { is_zombie: true, ..process(11, 10, 10) };
        assert_eq!(pids(&[process(10, 1, 10), zombie], Some(10), &[], &[]), [10]);
    }
}
