//! Ending a sandbox: killing its groups and waiting for its first process. What is left is cleaned up later.

use std::os::fd::AsFd;

use protocol::{
    SandboxId,
    launcher::{Reply, Stats},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};

use super::{
    calls, groups,
    running::{Phase, Running, Waiting, exit_status},
    serve::Launcher,
};
use crate::{
    failure::{Step, StepError},
    plan::{CgroupPlan, GroupPlan, cgroup_plan},
};

impl Launcher {
    /// Kills a sandbox, or finds that it does not run; answers when nothing of it is left.
    pub(super) fn end(&mut self, sandbox: SandboxId, waiting: Waiting) {
        self.promise_break(sandbox);
        if waiting.remove && self.ended.removal_add(sandbox, waiting) {
            return;
        }
        self.clean_now(sandbox);
        let Some(running) = self.running.get_mut(&sandbox) else {
            self.end_unknown(sandbox, waiting);
            return;
        };
        running.waiting.push(waiting);
        if let Phase::Ended { stats } = running.phase {
            self.finish(sandbox, stats);
        } else if let Err(error) = kill(running) {
            running.waiting.pop();
            self.answer_failed(waiting.number, error);
        }
    }

    /// A sandbox that this launcher did not start: an earlier one's, or none at all.
    fn end_unknown(&mut self, sandbox: SandboxId, waiting: Waiting) {
        let plan = self.cgroup_of(sandbox);
        let ended = self.stray_kill(&plan).and_then(|()| {
            self.leftovers_remove(sandbox, &plan);
            if waiting.remove { self.layers.remove(sandbox) } else { Ok(()) }
        });
        match ended {
            Ok(()) => self.answer_stats(waiting.number, Stats::default()),
            Err(error) => self.answer_failed(waiting.number, error),
        }
    }

    /// The groups that a sandbox has, whatever its limits are. One that was prepared ahead has them under
    /// the name that it had then, which its folder tells.
    pub(super) fn cgroup_of(&self, sandbox: SandboxId) -> CgroupPlan {
        if let Some(running) = self.running.get(&sandbox) {
            return running.cgroup.clone();
        }
        let sandbox = self.note_read(sandbox).map_or(sandbox, |note| note.group);
        let host = &self.config.host.cgroups;
        let mut plan = cgroup_plan(sandbox, self.config.instance, &protocol::limits::Limits::default(), host);
        plan.groups.retain(|group| group.folder.as_path().exists());
        plan
    }

    /// Ends what runs under this instance's number and belongs to no folder of this data directory: another
    /// server's, whose directory is gone.
    pub(super) fn strangers_end(&self) -> Result<(), StepError> {
        let known: Vec<_> = self.started().into_iter().map(|sandbox| self.cgroup_of(sandbox)).collect();
        for sandbox in groups::list(&self.config.host.cgroups, self.config.instance) {
            let host = &self.config.host.cgroups;
            let plan = cgroup_plan(sandbox, self.config.instance, &protocol::limits::Limits::default(), host);
            let is_known = |group: &GroupPlan| {
                known.iter().flat_map(|plan| &plan.groups).any(|known| known.folder == group.folder)
            };
            if !plan.groups.iter().any(is_known) {
                self.stray_kill(&plan)?;
                groups::remove(&plan)?;
            }
        }
        Ok(())
    }

    /// Kills processes that are not this launcher's children, and waits until none is left.
    pub(super) fn stray_kill(&self, plan: &CgroupPlan) -> Result<(), StepError> {
        if plan.groups.is_empty() || groups::processes(plan).is_empty() {
            return Ok(());
        }
        let mut waiting: Vec<_> = groups::processes(plan)
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?)))
            .collect();
        // A number may have been given to a process that never ends, but not while its descriptor is held.
        let still = groups::processes(plan);
        waiting.retain(|(pid, _)| still.contains(pid));
        groups::kill(plan)?;
        for (_, pidfd) in &waiting {
            let mut poll = [PollFd::new(pidfd, PollFlags::IN)];
            rustix::event::poll(&mut poll, None).step(|| "wait for the sandbox's processes".to_owned())?;
        }
        Ok(())
    }

    pub(super) fn is_starting(&self, sandbox: SandboxId) -> bool {
        matches!(self.running.get(&sandbox).map(|running| &running.phase), Some(Phase::Starting { .. }))
    }

    /// The first process of a sandbox ended, and with it every other one in its pid namespace.
    pub(super) fn child_ended(&mut self, sandbox: SandboxId) {
        let Some(running) = self.running.get_mut(&sandbox) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, &running.pidfd);
        let status = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten();
        let mut stats = groups::stats_at_end(&running.cgroup);
        self.layers.stats_add(sandbox, &mut stats);
        running.phase = Phase::Ended { stats };
        if self.prepared_forget(sandbox) {
            self.finish_prepared(sandbox);
            return;
        }
        let Some(running) = self.running.get(&sandbox) else { return };
        if running.waiting.is_empty() {
            let status = status.as_ref().and_then(exit_status);
            calls::send(&self.socket, &Reply::Exited { sandbox, status, stats }, None);
        } else {
            self.finish(sandbox, stats);
        }
    }

    /// Answers those who waited for the end of a sandbox, and leaves the rest for later. Whoever wants it
    /// removed waits for that too.
    fn finish(&mut self, sandbox: SandboxId, stats: Stats) {
        let Some(mut running) = self.running.remove(&sandbox) else { return };
        let (removals, kills) = running.waiting.into_iter().partition(|waiting| waiting.remove);
        running.waiting = removals;
        let kills: Vec<Waiting> = kills;
        for waiting in kills {
            self.answer_stats(waiting.number, stats);
        }
        self.clean_later(running);
    }

    /// Removes a sandbox that was prepared ahead and ended before anybody wanted it.
    fn finish_prepared(&mut self, sandbox: SandboxId) {
        let Some(running) = self.running.remove(&sandbox) else { return };
        self.leftovers_remove(sandbox, &running.cgroup);
        self.report_error(self.layers.remove(sandbox));
        self.slot_release(&running);
    }

    /// A launch failed in the child, which has exited or is about to.
    pub(super) fn forget_failed(&mut self, sandbox: SandboxId) {
        let Some(running) = self.running.remove(&sandbox) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, &running.pidfd);
        self.events.remove(&running.exit_event);
        self.end_now(&running);
        self.leftovers_remove(sandbox, &running.cgroup);
        // Whoever wants it removed gets that, too.
        if running.layer_made || running.waiting.iter().any(|waiting| waiting.remove) {
            self.report_error(self.layers.remove(sandbox));
        }
        self.slot_release(&running);
        for waiting in running.waiting {
            self.answer_stats(waiting.number, Stats::default());
        }
    }

    /// Kills and reaps a first process, whatever it is at.
    pub(super) fn end_now(&self, running: &Running) {
        self.report_error(kill(running));
        // One that was taken over is no child to wait for.
        let mut ended = [PollFd::new(&running.pidfd, PollFlags::IN)];
        while matches!(poll(&mut ended, None), Err(Errno::INTR)) {}
        let _ = waitid(WaitId::PidFd(running.pidfd.as_fd()), WaitIdOptions::EXITED);
    }

    /// Ends one that runs, and leaves nothing of it.
    pub(super) fn end_whole(&mut self, sandbox: SandboxId) {
        let Some(running) = self.running.remove(&sandbox) else { return };
        self.end_now(&running);
        self.leftovers_remove(sandbox, &running.cgroup);
        self.report_error(self.layers.remove(sandbox));
        self.slot_release(&running);
    }

    /// Ends every sandbox, and leaves nothing of any; of those that had ended, their layers are left to remove.
    pub(super) fn all_end(&mut self) {
        let running: Vec<SandboxId> = self.running.keys().copied().collect();
        for sandbox in running {
            self.end_whole(sandbox);
        }
        match self.layers.list() {
            Ok(layers) => layers.into_iter().for_each(|layer| self.report_error(self.layers.remove(layer))),
            Err(error) => self.report_error(Err(error)),
        }
    }

    /// Removes groups and sockets. What can't be removed is told, not hidden: the next start tries again.
    pub(super) fn leftovers_remove(&self, sandbox: SandboxId, cgroup: &CgroupPlan) {
        self.report_error(groups::remove(cgroup));
        let folder = self.config.data.run_folder(sandbox);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => self.report_error(other.step(|| format!("remove {folder}"))),
        }
    }
}

/// Kills by group, and the first process by its pidfd as well: it may not have entered its groups yet.
fn kill(running: &Running) -> Result<(), StepError> {
    groups::kill(&running.cgroup)?;
    match rustix::process::pidfd_send_signal(&running.pidfd, rustix::process::Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(StepError::new("kill the sandbox's first process", errno)),
    }
}
