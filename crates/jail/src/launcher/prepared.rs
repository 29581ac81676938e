//! Sandboxes prepared ahead: launched when the launcher has nothing else to do, handed over when one is
//! wanted that fits.
//!
//! Such a sandbox is like any other, fresh and used once; only its limits and its names are set when it is
//! handed over. What it is launched with must not depend on the request, so only requests for the usual are
//! served from here.

use std::{os::fd::AsFd, time::Instant};

use protocol::{
    SandboxId,
    launcher::{Failure, ImageName, LaunchSpec, LaunchTimings, NetworkMode, Reply},
    limits::Limits,
};

use rustix::io::Errno;

use super::{calls, groups, serve::Launcher};
use crate::{
    failure::{Step, StepError},
    plan::cgroup_plan,
};

/// How many without and with a network are kept ready.
const READY_WITHOUT_NETWORK: usize = 4;
const READY_WITH_NETWORK: usize = 1;

/// After so many failures in a row nothing more is prepared: requests then tell what is wrong.
const FAILURES_MAX: u32 = 3;

/// What is ready, and what is on its way.
pub(super) struct Prepared {
    ready: Vec<(NetworkMode, SandboxId)>,
    on_its_way: Option<OnItsWay>,
    /// Whether this launcher prepares any.
    enabled: bool,
    network: bool,
    failures: u32,
    /// Nothing is prepared before the first request: a server that is not used costs nothing.
    wanted: bool,
}

/// One whose agent has not started yet.
struct OnItsWay {
    network: NetworkMode,
    sandbox: SandboxId,
    /// The request that gets it. Waiting for the rest of a launch is shorter than a launch.
    promised: Option<Promise>,
}

/// A request for a launch that waits, with its number.
type Promise = (u64, LaunchSpec);

impl Prepared {
    pub(super) fn new(enabled: bool, network: bool) -> Self {
        Self { ready: Vec::new(), on_its_way: None, enabled, network, failures: 0, wanted: false }
    }

    pub(super) fn wants_one(&self) -> bool {
        self.next().is_some()
    }

    pub(super) fn contains(&self, sandbox: SandboxId) -> bool {
        self.ready.iter().any(|(_, ready)| *ready == sandbox)
            || self.on_its_way.as_ref().is_some_and(|it| it.sandbox == sandbox)
    }

    /// Whether a sandbox of this name waits to be handed over.
    pub(super) fn is_promised(&self, sandbox: SandboxId) -> bool {
        let promised = self.on_its_way.as_ref().and_then(|it| it.promised.as_ref());
        promised.is_some_and(|(_, spec)| spec.sandbox == sandbox)
    }

    /// What is to be prepared next.
    fn next(&self) -> Option<NetworkMode> {
        if !self.enabled || !self.wanted || self.on_its_way.is_some() || self.failures >= FAILURES_MAX {
            return None;
        }
        let count = |network| self.ready.iter().filter(|(mode, _)| *mode == network).count();
        if count(NetworkMode::None) < READY_WITHOUT_NETWORK {
            Some(NetworkMode::None)
        } else if self.network && count(NetworkMode::Nat) < READY_WITH_NETWORK {
            Some(NetworkMode::Nat)
        } else {
            None
        }
    }

    fn ready_take(&mut self, network: NetworkMode) -> Option<SandboxId> {
        let position = self.ready.iter().position(|(mode, _)| *mode == network)?;
        Some(self.ready.swap_remove(position).1)
    }
}

impl Launcher {
    /// Prepares the next one, if one is missing.
    pub(super) fn prepare_ahead(&mut self) {
        let Some(network) = self.prepared.next() else { return };
        let spec = LaunchSpec {
            sandbox: SandboxId::random(),
            image: ImageName::Host,
            limits: Limits::default(),
            network,
            ephemeral: true,
            origin: None,
            total_bytes: 0,
            network_policy: None,
            volumes: Vec::new(),
        };
        self.prepared.on_its_way = Some(OnItsWay { network, sandbox: spec.sandbox, promised: None });
        if let Err(error) = self.start(None, &spec) {
            self.prepared_failed(&error.into());
        }
    }

    /// The agent of one has started: it is handed over, or kept.
    pub(super) fn prepared_ready(&mut self, sandbox: SandboxId) {
        let Some(it) = self.prepared.on_its_way.take_if(|it| it.sandbox == sandbox) else { return };
        self.prepared.failures = 0;
        match it.promised {
            None => self.prepared.ready.push((it.network, sandbox)),
            Some((number, spec)) => {
                if let Err(error) = self.hand_over(number, sandbox, &spec) {
                    self.answer_failed(number, error);
                }
            }
        }
    }

    /// One could not be launched, and so could not be who waits for it.
    pub(super) fn prepared_failed(&mut self, failure: &Failure) {
        super::tell(format_args!("prepare a sandbox ahead: {failure}"));
        self.prepared.failures += 1;
        if let Some((number, _)) = self.prepared.on_its_way.take().and_then(|it| it.promised) {
            calls::send(&self.socket, &Reply::Failed { number, failure: failure.clone() }, None);
        }
    }

    /// Forgets one that has ended. Returns whether it was one of these.
    pub(super) fn prepared_forget(&mut self, sandbox: SandboxId) -> bool {
        let known = self.prepared.contains(sandbox);
        self.prepared.ready.retain(|(_, ready)| *ready != sandbox);
        let on_its_way = self.prepared.on_its_way.take_if(|it| it.sandbox == sandbox);
        if let Some((number, spec)) = on_its_way.and_then(|it| it.promised)
            && let Err(error) = self.start(Some(number), &spec)
        {
            self.answer_failed(number, error);
        }
        known
    }

    /// Whoever wanted a sandbox wants its end before it was handed over.
    pub(super) fn promise_break(&mut self, sandbox: SandboxId) {
        if self.prepared.is_promised(sandbox)
            && let Some(it) = &mut self.prepared.on_its_way
            && let Some((number, _)) = it.promised.take()
        {
            let error = StepError::new("start the sandbox: it was ended before", Errno::CANCELED);
            self.answer_failed(number, error);
        }
    }

    /// Answers a request with a prepared sandbox, or promises it the one that is on its way. Returns whether
    /// there was one that fits.
    pub(super) fn prepared_use(&mut self, number: u64, spec: &LaunchSpec) -> Result<bool, StepError> {
        self.prepared.wanted = true;
        let usual = spec.ephemeral
            && spec.origin.is_none()
            && spec.network_policy.is_none()
            && spec.volumes.is_empty()
            && spec.image == ImageName::Host
            && spec.limits.open_files == Limits::default().open_files;
        if !usual {
            return Ok(false);
        }
        if let Some(prepared) = self.prepared.ready_take(spec.network) {
            return self.hand_over(number, prepared, spec).map(|()| true);
        }
        match &mut self.prepared.on_its_way {
            Some(it) if it.network == spec.network && it.promised.is_none() => {
                it.promised = Some((number, spec.clone()));
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Makes a prepared sandbox the one of a request, and answers.
    fn hand_over(&mut self, number: u64, prepared: SandboxId, spec: &LaunchSpec) -> Result<(), StepError> {
        let Some(mut running) = self.running.remove(&prepared) else {
            return self.start(Some(number), spec);
        };
        let start = Instant::now();
        let sandbox = spec.sandbox;
        let host = &self.config.host.cgroups;
        let limited = cgroup_plan(prepared, self.config.instance, &spec.limits, host);
        // Until the names are changed it is found, and ended, under its old one.
        let renamed = groups::limits_change(&running.cgroup, &limited)
            .and_then(|()| self.prepared_rename(prepared, spec));
        if let Err(error) = renamed {
            self.end_now(&running);
            for name in [prepared, sandbox] {
                self.leftovers_remove(name, &running.cgroup);
                self.report_error(self.layers.remove(name));
            }
            self.slot_release(&running);
            return Err(error);
        }
        if let Some(event) = self.events.get_mut(&running.exit_event) {
            event.0 = sandbox;
        }
        running.sandbox = sandbox;
        running.cgroup = limited;
        let child_us = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        let timings = LaunchTimings { prepared: true, child_us, ..LaunchTimings::default() };
        let reply = Reply::Launched { number, pid: running.pid, timings };
        calls::send(&self.socket, &reply, Some(running.pidfd.as_fd()));
        self.running.insert(sandbox, running);
        Ok(())
    }

    /// Gives a prepared sandbox the names and the room on disk of a request.
    fn prepared_rename(&self, prepared: SandboxId, spec: &LaunchSpec) -> Result<(), StepError> {
        self.layers.rename(prepared, spec.sandbox, spec.limits.disk_bytes)?;
        let data = &self.config.data;
        std::fs::rename(data.run_folder(prepared), data.run_folder(spec.sandbox))
            .step(|| "rename the sandbox's folder".to_owned())
    }

    /// Ends what is ready: nobody will want it any more.
    pub(super) fn prepared_end(&mut self) {
        let known: Vec<SandboxId> = self
            .prepared
            .ready
            .drain(..)
            .map(|(_, sandbox)| sandbox)
            .chain(self.prepared.on_its_way.take().map(|it| it.sandbox))
            .collect();
        for sandbox in known {
            self.end_whole(sandbox);
        }
    }
}
