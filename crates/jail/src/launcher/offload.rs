//! Work that may take long (it waits for the disk), done in a child of its own, so that no other sandbox waits.
//!
//! Such work is about one sandbox, and while it goes on nothing else is begun with that sandbox.

use std::{io::Read, os::fd::AsFd, os::fd::OwnedFd};

use protocol::{
    SandboxId,
    launcher::{Failure, LaunchSpec, Reply},
};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid},
};

use super::{
    calls, groups,
    layer::Layers,
    running::Waiting,
    serve::{Launcher, Source},
};
use crate::{
    failure::{Step, StepError},
    sys,
};

/// What is under way for one sandbox.
pub(super) struct Offloaded {
    report: OwnedFd,
    pidfd: OwnedFd,
    then: Then,
    /// Requests to end the sandbox that came meanwhile.
    waiting: Vec<Waiting>,
}

/// What follows when the work is done.
pub(super) enum Then {
    /// The request is answered.
    Answer { number: u64 },
    /// The sandbox, frozen for the time, goes on, and the request is answered.
    Thaw { number: u64 },
    /// The sandbox is launched.
    Launch { number: u64, spec: Box<LaunchSpec> },
}

impl Then {
    fn number(&self) -> u64 {
        match self {
            Self::Answer { number } | Self::Thaw { number } | Self::Launch { number, .. } => *number,
        }
    }
}

impl Launcher {
    /// Begins work on a sandbox's layer. The answer comes when it is done.
    pub(super) fn offload(
        &mut self,
        sandbox: SandboxId,
        then: Then,
        work: impl FnOnce(&Layers) -> Result<(), StepError>,
    ) {
        let number = then.number();
        if self.offloaded.contains_key(&sandbox) {
            let error = StepError::new("begin: something else goes on with the sandbox", Errno::BUSY);
            self.answer_failed(number, error);
        } else if let Err(error) = self.offload_start(sandbox, then, work) {
            self.answer_failed(number, error);
        }
    }

    fn offload_start(
        &mut self,
        sandbox: SandboxId,
        then: Then,
        work: impl FnOnce(&Layers) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let (report, report_write) = pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe".to_owned())?;
        let pidfd = match sys::clone_into(0, None).step(|| "clone for a layer's work".to_owned())? {
            sys::Cloned::Parent { pidfd, .. } => pidfd,
            sys::Cloned::Child => {
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                let result = work(&self.layers).map_err(Failure::from);
                let bytes = postcard::to_stdvec(&result).unwrap_or_default();
                let _ = rustix::io::write(report_write.as_fd(), &bytes);
                sys::exit_now(0)
            }
        };
        drop(report_write);
        let watched = self.watch_fd(report.as_fd(), sandbox, Source::Offloaded);
        self.offloaded.insert(sandbox, Offloaded { report, pidfd, then, waiting: Vec::new() });
        if let Err(error) = watched {
            // Then it is waited for here.
            self.report_error(Err(error));
            self.offload_ended(sandbox);
        }
        Ok(())
    }

    /// Puts a request to end a sandbox behind what goes on with it. Returns whether something does.
    pub(super) fn offload_await(&mut self, sandbox: SandboxId, waiting: Waiting) -> bool {
        let under_way = self.offloaded.get_mut(&sandbox);
        under_way.map(|offloaded| offloaded.waiting.push(waiting)).is_some()
    }

    /// The work on a sandbox's layer is done, or its process is gone.
    pub(super) fn offload_ended(&mut self, sandbox: SandboxId) {
        let Some(Offloaded { report, pidfd, then, waiting }) = self.offloaded.remove(&sandbox) else {
            return;
        };
        let _ = rustix::event::epoll::delete(&self.epoll, &report);
        let mut bytes = Vec::new();
        let read = std::fs::File::from(report).read_to_end(&mut bytes);
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let lost = Failure { step: "read the report of a layer's work".to_owned(), errno: 0 };
        let result: Result<(), Failure> = match read {
            Ok(_) => postcard::from_bytes(&bytes).unwrap_or(Err(lost)),
            Err(_) => Err(lost),
        };
        if let Then::Thaw { .. } = then {
            let thawed = groups::thaw(&self.cgroup_of(sandbox));
            self.report_error(thawed);
        }
        match (result, then) {
            (Err(failure), then) => {
                calls::send(&self.socket, &Reply::Failed { number: then.number(), failure }, None);
            }
            (Ok(()), Then::Answer { number } | Then::Thaw { number }) => {
                calls::send(&self.socket, &Reply::Done { number }, None);
            }
            (Ok(()), Then::Launch { number, .. }) if !waiting.is_empty() => {
                let error = StepError::new("start the sandbox: it was ended before", Errno::CANCELED);
                self.answer_failed(number, error);
            }
            (Ok(()), Then::Launch { number, spec }) => {
                if let Err(error) = self.start(Some(number), &spec) {
                    let removed = self.layers.remove(sandbox);
                    self.report_error(removed);
                    self.answer_failed(number, error);
                }
            }
        }
        for waiting in waiting {
            self.end(sandbox, waiting);
        }
    }
}
