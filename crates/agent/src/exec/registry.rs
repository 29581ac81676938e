//! Which execs there are: those that run, and those that ended while nobody listened.
//!
//! It must not know how execs run; it finds them, keeps a bounded number and forgets.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use protocol::ExecId;

use super::{mark::Mark, state::Exec};
use crate::sys::EndedChild;

/// How many ended execs are kept for a late collector.
const KEPT_EXECS_MAX: usize = 1024;
/// How many bytes of output all of them together keep, the latest one's aside.
const KEPT_OUTPUT_BYTES_MAX: usize = 2 << 20;

/// Where the marks of those begin whose forks get their own.
const PARENTS_MARK_MIN: u64 = 1 << 40;

/// All execs of the agent.
#[derive(Default)]
pub(crate) struct Registry {
    by_id: RefCell<HashMap<ExecId, Rc<Exec>>>,
    /// Those whose main process was not reaped, by its process id.
    by_pid: RefCell<HashMap<i32, Rc<Exec>>>,
    /// Those that ended and were not collected, the oldest first.
    kept: RefCell<Vec<ExecId>>,
    marks: Cell<u64>,
}

impl Registry {
    /// A mark that no exec had before.
    pub(crate) fn mark_next(&self, id: ExecId) -> Mark {
        self.marks.set(self.marks.get() + 1);
        Mark::new(id, self.marks.get())
    }

    /// The same for a program whose forks become execs with marks of their own. A limit can be lowered by anybody and
    /// raised by nobody: this one is above all of theirs.
    pub(crate) fn mark_of_parents(&self, id: ExecId) -> Mark {
        self.marks.set(self.marks.get() + 1);
        Mark::new(id, PARENTS_MARK_MIN + self.marks.get())
    }

    pub(crate) fn insert(&self, exec: &Rc<Exec>) {
        self.by_id.borrow_mut().insert(exec.id, Rc::clone(exec));
        self.by_pid.borrow_mut().insert(exec.pid, Rc::clone(exec));
    }

    pub(crate) fn find(&self, id: ExecId) -> Option<Rc<Exec>> {
        self.by_id.borrow().get(&id).cloned()
    }

    /// Whether this is the main process of an exec and was not reaped.
    pub(crate) fn is_main_process(&self, pid: i32) -> bool {
        self.by_pid.borrow().contains_key(&pid)
    }

    /// Whether no exec runs: then there is no output that a stall could hold up.
    pub(crate) fn none_runs(&self) -> bool {
        self.by_pid.borrow().is_empty()
    }

    /// The reaper's word that a child has ended. Children that are no exec's main process were orphans.
    pub(crate) fn process_ended(&self, ended: &EndedChild) {
        let exec = self.by_pid.borrow_mut().remove(&ended.pid);
        if let Some(exec) = exec {
            exec.set_exited(*ended);
        }
    }

    /// The end of an exec was delivered: nobody will ask for it again.
    pub(crate) fn forget(&self, id: ExecId) {
        self.by_id.borrow_mut().remove(&id);
        self.kept.borrow_mut().retain(|kept| *kept != id);
    }

    /// Lists an exec as not collected, if it has ended and nobody follows it; then holds what is kept to its
    /// limits: the oldest lose their output first, then are forgotten.
    pub(crate) fn kept_add(&self, exec: &Exec) {
        if exec.end().is_none() || exec.is_followed() {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        let mut by_id = self.by_id.borrow_mut();
        kept.retain(|id| *id != exec.id);
        kept.push(exec.id);
        let excess = kept.len().saturating_sub(KEPT_EXECS_MAX);
        for id in kept.drain(..excess) {
            by_id.remove(&id);
        }
        let mut bytes = 0;
        // The latest is what a server that was killed had at hand, and has a bound of its own.
        let earlier = kept.iter().rev().filter_map(|id| by_id.get(id)).skip(1);
        for exec in earlier.filter(|exec| !exec.is_followed()) {
            bytes += exec.output_bytes();
            if bytes > KEPT_OUTPUT_BYTES_MAX {
                bytes -= exec.output_bytes();
                exec.output_clear();
            }
        }
    }
}
