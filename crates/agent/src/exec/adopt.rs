//! Execs whose processes another exec forked for the agent: from their start they are execs as all others.
//!
//! A process becomes the agent's child when its parents are gone. What it is told to be comes from inside of the
//! sandbox: before it is looked after, it is seen that it is a child that is nobody's main process.

use std::{io, os::fd::OwnedFd, rc::Rc};

use protocol::agent::{ExecSpec, Failure, FailureKind};

use super::{
    exec_look_after,
    mark::Mark,
    output::Source,
    process_table::process_find,
    spawn::{Ends, Spawned, output_pipe_make},
    state::Exec,
};
use crate::{agent::Agent, failure::failure};

/// What is made for a process before it is there.
pub(crate) struct Adoption {
    mark: Mark,
    stdout: Source,
    stderr: Source,
}

impl Adoption {
    /// Also returns what the process must get as its standard output and error.
    ///
    /// # Errors
    /// Those of pipe(2).
    pub(crate) fn prepare(agent: &Agent, spec: &ExecSpec) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, child_stdout) = output_pipe_make()?;
        let (stderr, child_stderr) = output_pipe_make()?;
        let mark = agent.execs.mark_next(spec.id);
        Ok((Self { mark, stdout, stderr }, [child_stdout, child_stderr]))
    }

    /// The marks that the process must put on itself: a limit's value, and a variable.
    pub(crate) fn mark(&self) -> (u64, String) {
        (self.mark.number(), self.mark.variable())
    }
}

/// Looks after the process from now on.
///
/// # Errors
/// A [`Failure`] when there is no such process, or it is not the agent's to look after.
pub(crate) fn exec_adopt(
    agent: &Rc<Agent>,
    spec: &ExecSpec,
    adoption: Adoption,
    pid: i32,
) -> Result<Rc<Exec>, Failure> {
    let own = std::process::id().cast_signed();
    let is_child = process_find(pid).is_some_and(|process| process.parent == own);
    if !is_child || agent.execs.is_main_process(pid) {
        return Err(failure(FailureKind::Other, format!("process {pid} is not there to be looked after")));
    }
    let Adoption { mark, stdout, stderr } = adoption;
    let ends = Ends { input: None, stdout, stderr: Some(stderr) };
    Ok(exec_look_after(agent, spec, mark, Spawned { pid, ends }))
}
