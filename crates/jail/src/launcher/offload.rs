//! Work that may take long (it waits for the disk), done by a process of its own, so that no other sandbox waits.
//!
//! Such work is about one sandbox, and while it goes on nothing else is begun with that sandbox.

use std::os::fd::AsFd;

use protocol::{
    SandboxId,
    launcher::{Failure, LaunchSpec, Reply},
};
use rustix::io::Errno;

use super::{
    calls, groups,
    running::Waiting,
    serve::{Launcher, Source},
    worker::{LayerWork, Worker},
};
use crate::failure::StepError;

/// Workers that are there from the start, and kept. More are started when more goes on at once.
pub(super) const WORKERS_KEPT: usize = 2;

/// What is under way for one sandbox.
pub(super) struct Offloaded {
    worker: Worker,
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
    pub(super) fn offload(&mut self, sandbox: SandboxId, then: Then, work: &LayerWork) {
        let number = then.number();
        if self.offloaded.contains_key(&sandbox) {
            let error = StepError::new("begin: something else goes on with the sandbox", Errno::BUSY);
            self.answer_failed(number, error);
        } else if let Err(error) = self.offload_start(sandbox, then, work) {
            self.answer_failed(number, error);
        }
    }

    fn offload_start(&mut self, sandbox: SandboxId, then: Then, work: &LayerWork) -> Result<(), StepError> {
        let kept = self.workers.pop();
        let worker = match kept.filter(|worker| worker.begin(work).is_ok()) {
            Some(worker) => worker,
            // None is kept, or that one has died since.
            None => {
                let worker = Worker::start(&self.layers)?;
                worker.begin(work)?;
                worker
            }
        };
        let watched = self.watch_fd(worker.socket(), sandbox, Source::Offloaded);
        self.offloaded.insert(sandbox, Offloaded { worker, then, waiting: Vec::new() });
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
        let Some(Offloaded { worker, then, waiting }) = self.offloaded.remove(&sandbox) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, worker.socket().as_fd());
        let result: Result<(), Failure> = match worker.result() {
            Some(result) => {
                if self.workers.len() < WORKERS_KEPT {
                    self.workers.push(worker);
                }
                result
            }
            None => Err(Failure { step: "work on the layer: the worker died".to_owned(), errno: 0 }),
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
