//! Cleaning up after sandboxes that have ended. Whoever ended one waits for its last process, not for this: it
//! is done when nothing else is to do, and before anything else is done with the same sandbox.

use std::collections::VecDeque;

use protocol::SandboxId;

use super::{
    running::{Phase, Running, Waiting},
    serve::Launcher,
};

/// How many may wait: under load without a pause the oldest is cleaned up for each new one.
const WAITING_MAX: usize = 16;

/// Sandboxes of which only traces are left, in the order in which they ended.
#[derive(Default)]
pub(super) struct Ended(VecDeque<Running>);

impl Ended {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has the layer removed as well, and the request answered then. Returns whether the sandbox was waiting.
    pub(super) fn removal_add(&mut self, sandbox: SandboxId, waiting: Waiting) -> bool {
        let found = self.0.iter_mut().find(|running| running.sandbox == sandbox);
        found.map(|running| running.waiting.push(waiting)).is_some()
    }

    /// Whether the layer of a sandbox goes when it is cleaned up.
    pub(super) fn takes_layer(&self, sandbox: SandboxId) -> bool {
        self.0.iter().any(|running| running.sandbox == sandbox && !running.waiting.is_empty())
    }
}

impl Launcher {
    /// Puts an ended sandbox with those that wait to be cleaned up.
    pub(super) fn clean_later(&mut self, running: Running) {
        self.ended.0.push_back(running);
        if self.ended.0.len() > WAITING_MAX {
            self.clean_oldest();
        }
    }

    pub(super) fn clean_oldest(&mut self) {
        if let Some(running) = self.ended.0.pop_front() {
            self.clean(running);
        }
    }

    pub(super) fn clean_all(&mut self) {
        while !self.ended.is_empty() {
            self.clean_oldest();
        }
    }

    /// Cleans up after one sandbox, if it waits for that.
    pub(super) fn clean_now(&mut self, sandbox: SandboxId) {
        let position = self.ended.0.iter().position(|running| running.sandbox == sandbox);
        if let Some(running) = position.and_then(|position| self.ended.0.remove(position)) {
            self.clean(running);
        }
    }

    /// Gives the slot of a sandbox back, with nothing behind its address and no policy for it.
    pub(super) fn slot_release(&mut self, running: &Running) {
        if running.has_network {
            let forgotten = self.uplink.forget(running.slot);
            self.report_error(forgotten);
        }
        self.slots.release(running.slot);
    }

    /// Removes what is left, and answers those who waited for that.
    fn clean(&mut self, running: Running) {
        let Phase::Ended { stats } = running.phase else { return };
        self.leftovers_remove(running.sandbox, &running.cgroup);
        self.slot_release(&running);
        if running.waiting.is_empty() {
            return;
        }
        let removed = self.layers.remove(running.sandbox);
        for waiting in running.waiting {
            match &removed {
                Err(error) => self.answer_failed(waiting.number, error.clone()),
                Ok(()) => self.answer_stats(waiting.number, stats),
            }
        }
    }
}
