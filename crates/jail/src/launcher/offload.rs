//! Work that may take long (it waits for the disk), done by a process of its own, so that no other sandbox waits.
//!
//! Such work is about one sandbox, and while it goes on nothing else is begun with that sandbox.

use std::os::fd::AsFd;

use protocol::{
    SandboxId,
    launcher::{Call, Failure, LaunchSpec, Reply, Request},
};
use rustix::io::Errno;

use super::{
    calls, groups,
    serve::{Launcher, Source},
    worker::{Job, LayerWork, Worker},
};
use crate::failure::StepError;

/// Workers that are there from the start, and kept. More are started when more goes on at once.
pub(super) const WORKERS_KEPT: usize = 2;

/// What is under way for one sandbox.
pub(super) struct Offloaded {
    worker: Worker,
    then: Then,
    /// Requests that came meanwhile, in their order: the worker answers before the launcher hears that it is done.
    waiting: Vec<Call>,
}

/// Requests about one sandbox that wait for the work on its layer; more are refused.
const WAITING_MAX: usize = 64;

/// What follows when the work is done.
pub(super) enum Then {
    /// The worker has answered the request.
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

    fn answered_by_worker(&self) -> Option<u64> {
        match self {
            Self::Answer { number } => Some(*number),
            Self::Thaw { .. } | Self::Launch { .. } => None,
        }
    }
}

impl Launcher {
    /// Begins work on a sandbox's layer. The answer comes when it is done.
    pub(super) fn offload(&mut self, sandbox: SandboxId, then: Then, work: LayerWork) {
        let number = then.number();
        if let Err(error) = self.offload_start(sandbox, then, work) {
            self.answer_failed(number, error);
        }
    }

    fn offload_start(&mut self, sandbox: SandboxId, then: Then, work: LayerWork) -> Result<(), StepError> {
        let job = Job { work, answers: then.answered_by_worker() };
        let kept = self.workers.pop();
        let worker = match kept.filter(|worker| worker.begin(&job).is_ok()) {
            Some(worker) => worker,
            // None is kept, or that one has died since.
            None => {
                let worker = Worker::start(&self.layers, &self.socket)?;
                worker.begin(&job)?;
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

    /// Puts a request about a sandbox behind the work that goes on with its layer. Returns one that need not wait.
    pub(super) fn offload_defer(&mut self, call: Call) -> Option<Call> {
        let sandbox = match &call.request {
            Request::Launch(LaunchSpec { sandbox, .. })
            | Request::Kill(sandbox)
            | Request::Remove(sandbox)
            | Request::SnapshotCreate { sandbox, .. }
            | Request::SnapshotRestore { sandbox, .. }
            | Request::NetworkPolicySet { sandbox, .. } => sandbox,
            Request::Freeze(_)
            | Request::Thaw(_)
            | Request::Stats(_)
            | Request::SnapshotRemove(_)
            | Request::SnapshotNote(_)
            | Request::SnapshotList { .. }
            | Request::Inventory { .. }
            | Request::NetworkAddresses { .. }
            | Request::VolumeCreate { .. }
            | Request::VolumeRemove(_)
            | Request::VolumeList { .. } => return Some(call),
        };
        let Some(offloaded) = self.offloaded.get_mut(sandbox) else { return Some(call) };
        if offloaded.waiting.len() < WAITING_MAX {
            offloaded.waiting.push(call);
        } else {
            let error =
                StepError::new("begin: too much waits for what goes on with the sandbox", Errno::BUSY);
            self.answer_failed(call.number, error);
        }
        None
    }

    /// The work on a sandbox's layer is done, or its process is gone.
    pub(super) fn offload_ended(&mut self, sandbox: SandboxId) {
        let Some(Offloaded { worker, then, waiting }) = self.offloaded.remove(&sandbox) else { return };
        let _ = rustix::event::epoll::delete(&self.epoll, worker.socket().as_fd());
        let result = worker.result();
        if result.is_some() && self.workers.len() < WORKERS_KEPT {
            self.workers.push(worker);
        }
        if let Then::Thaw { .. } = then {
            let thawed = groups::thaw(&self.cgroup_of(sandbox));
            self.report_error(thawed);
        }
        let is_end = |call: &Call| matches!(call.request, Request::Kill(_) | Request::Remove(_));
        match (result, then) {
            (Some(_), Then::Answer { .. }) => {}
            (Some(Err(failure)), then) => {
                calls::send(&self.socket, &Reply::Failed { number: then.number(), failure }, None);
            }
            (Some(Ok(())), Then::Thaw { number }) => {
                calls::send(&self.socket, &Reply::Done { number }, None);
            }
            (Some(Ok(())), Then::Launch { number, .. }) if waiting.iter().any(is_end) => {
                let error = StepError::new("start the sandbox: it was ended before", Errno::CANCELED);
                self.answer_failed(number, error);
            }
            (Some(Ok(())), Then::Launch { number, spec }) => {
                if let Err(error) = self.start(Some(number), &spec) {
                    let removed = self.layers.remove(sandbox);
                    self.report_error(removed);
                    self.answer_failed(number, error);
                }
            }
            (None, then) => {
                // It may have answered before it died: then this answer is nobody's.
                let failure =
                    Failure { step: "work on the layer: the worker died".to_owned(), errno: 0, volume: None };
                calls::send(&self.socket, &Reply::Failed { number: then.number(), failure }, None);
            }
        }
        for call in waiting {
            self.call(call);
        }
    }
}
