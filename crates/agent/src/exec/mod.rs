//! Execs: process trees that the agent started and whose output it passes on.
//!
//! This file holds the three requests about execs. What an exec is while it lives: [`state`]. How its
//! process comes to be: [`spawn`]; which processes are its own: [`tree`]; where its output goes: [`output`]
//! into a [`backlog`], from there [`follow`] to a connection, or [`tap`] to another part of the agent.

mod adopt;
mod backlog;
mod follow;
mod mark;
mod output;
mod process_table;
mod registry;
mod spawn;
mod state;
mod tap;
mod terminal;
mod tree;

use std::{os::fd::BorrowedFd, rc::Rc, time::Duration};

use protocol::{
    ExecId,
    agent::{ExecSpec, Failure, FailureKind, TerminalSize},
};

pub(crate) use adopt::{Adoption, exec_adopt};
pub(crate) use follow::{Followed, exec_follow};
pub(crate) use registry::Registry;
pub(crate) use state::{Exec, OutputStream};
pub(crate) use tap::{Tap, Tapped};

use crate::{
    agent::Agent,
    failure::{failure, failure_os},
};
use mark::Mark;
use spawn::{Ends, Spawned};

/// The highest signal number of Linux (signal(7)).
const SIGNAL_MAX: i32 = 64;

/// How long a tree that was asked to end may take.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);

/// Starts a process and the task that looks after it.
///
/// # Errors
/// A [`Failure`] when the specification makes no sense, or the process could not be started.
pub(crate) fn exec_start(agent: &Rc<Agent>, spec: &ExecSpec) -> Result<Rc<Exec>, Failure> {
    if agent.execs.find(spec.id).is_some() {
        return Err(failure(FailureKind::Invalid, format!("start exec {}: this id is in use", spec.id)));
    }
    let mark = agent.execs.mark_next(spec.id);
    Ok(exec_look_after(agent, spec, mark, spawn::process_start(agent, spec, mark, None)?))
}

/// As [`exec_start`], for a program that has `private` as its descriptor 3. Should `adoptable` be true, what it forks
/// can become execs of their own.
///
/// # Errors
/// As [`exec_start`].
pub(crate) fn exec_start_private(
    agent: &Rc<Agent>,
    spec: &ExecSpec,
    private: BorrowedFd<'_>,
    adoptable: bool,
) -> Result<Rc<Exec>, Failure> {
    let mark = if adoptable { agent.execs.mark_of_parents(spec.id) } else { agent.execs.mark_next(spec.id) };
    Ok(exec_look_after(agent, spec, mark, spawn::process_start(agent, spec, mark, Some(private))?))
}

/// Kills what there is of an exec's tree, also after its end.
pub(crate) async fn exec_kill(agent: &Agent, exec: &Exec) {
    tree::tree_kill(agent, exec).await;
}

fn exec_look_after(agent: &Rc<Agent>, spec: &ExecSpec, mark: Mark, mut spawned: Spawned) -> Rc<Exec> {
    let exec = Rc::new(Exec::new(spec, mark, &mut spawned));
    agent.execs.insert(&exec);
    let timeout = spec.timeout_ms.map(Duration::from_millis);
    tokio::task::spawn_local(exec_run(Rc::clone(agent), Rc::clone(&exec), spawned.ends, timeout));
    exec
}

/// The exec with this id, which runs or was not collected yet.
///
/// # Errors
/// A [`Failure`] of kind [`FailureKind::NotFound`].
pub(crate) fn exec_find(agent: &Agent, id: ExecId) -> Result<Rc<Exec>, Failure> {
    agent.execs.find(id).ok_or_else(|| failure(FailureKind::NotFound, format!("exec {id}: there is none")))
}

/// Signals an exec's whole tree. SIGKILL returns when nothing of the tree is left to kill; any other signal
/// is sent once to each process that belongs to the tree now.
///
/// # Errors
/// A [`Failure`] when the number is no signal, or no such exec runs.
pub(crate) async fn exec_signal(agent: &Agent, id: ExecId, signal: i32) -> Result<(), Failure> {
    if !(1..=SIGNAL_MAX).contains(&signal) {
        return Err(failure(FailureKind::Invalid, format!("signal exec {id}: {signal} is no signal number")));
    }
    let exec = exec_find(agent, id)?;
    if exec.has_exited() {
        return Err(failure(FailureKind::NotFound, format!("signal exec {id}: it has ended")));
    }
    if signal == crate::sys::number::SIGKILL {
        tree::tree_kill(agent, &exec).await;
    } else {
        tree::tree_signal(agent, &exec, signal);
    }
    Ok(())
}

/// Gives an exec's terminal another size.
///
/// # Errors
/// A [`Failure`] when no such exec runs, or it has no terminal.
pub(crate) fn exec_resize(agent: &Agent, id: ExecId, size: TerminalSize) -> Result<(), Failure> {
    let exec = exec_find(agent, id)?;
    if exec.end().is_some() {
        return Err(failure(FailureKind::NotFound, format!("resize exec {id}: it has ended")));
    }
    let Some(terminal) = exec.terminal() else {
        return Err(failure(FailureKind::Invalid, format!("resize exec {id}: it has no terminal")));
    };
    terminal.resize(size).map_err(|error| failure_os(format_args!("resize exec {id}"), &error))
}

/// Signals what runs in the foreground of an exec's terminal, as the terminal's keys would; without a terminal
/// its whole tree.
pub(crate) fn exec_signal_foreground(agent: &Agent, exec: &Exec, signal: i32) {
    match exec.terminal() {
        Some(terminal) => {
            // It fails when all of them gave the terminal up, and then there is nobody to signal.
            let _ = terminal.signal(signal);
        }
        None => tree::tree_signal(agent, exec, signal),
    }
}

/// As [`exec_interrupt`], also for what an exec that has ended left running.
///
/// # Errors
/// A [`Failure`] when there is no such exec.
pub(crate) fn exec_hang_up(agent: &Rc<Agent>, id: ExecId) -> Result<(), Failure> {
    let exec = exec_find(agent, id)?;
    exec_interrupt(agent, &exec);
    Ok(())
}

/// Asks an exec's whole tree to end, one with a terminal as if that was hung up, and kills what is left of it after a
/// while. Returns when it was asked.
pub(crate) fn exec_interrupt(agent: &Rc<Agent>, exec: &Rc<Exec>) {
    let signal = match exec.terminal() {
        // A shell that is talked to takes no notice of SIGTERM.
        Some(_) => crate::sys::number::SIGHUP,
        None => crate::sys::number::SIGTERM,
    };
    tree::tree_signal(agent, exec, signal);
    let (agent, exec) = (Rc::clone(agent), Rc::clone(exec));
    tokio::task::spawn_local(async move {
        // Its main process may be gone long before those that it started.
        tokio::time::sleep(INTERRUPT_GRACE).await;
        tree::tree_kill(&agent, &exec).await;
    });
}

/// Looks after an exec from its start until its process and its output have ended.
async fn exec_run(agent: Rc<Agent>, exec: Rc<Exec>, ends: Ends, timeout: Option<Duration>) {
    tokio::join!(
        output::pump(&agent, &exec, OutputStream::Stdout, ends.stdout),
        async {
            if let Some(stderr) = ends.stderr {
                output::pump(&agent, &exec, OutputStream::Stderr, stderr).await;
            }
        },
        time_limit_keep(&agent, &exec, timeout),
    );
    exec.finish();
    agent.execs.kept_add(&exec);
}

/// Kills the tree when its time is over. Returns when the process has exited.
async fn time_limit_keep(agent: &Agent, exec: &Exec, timeout: Option<Duration>) {
    if let Some(timeout) = timeout
        && tokio::time::timeout(timeout, exec.exited()).await.is_err()
    {
        exec.set_timed_out();
        tree::tree_kill(agent, exec).await;
    }
    exec.exited().await;
}
