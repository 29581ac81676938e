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
    starting: Option<(NetworkMode, SandboxId)>,
    /// Whether this launcher prepares any.
    enabled: bool,
    network: bool,
    failures: u32,
    /// Nothing is prepared before the first request: a server that is not used costs nothing.
    wanted: bool,
}

impl Prepared {
    pub(super) fn new(enabled: bool, network: bool) -> Self {
        Self { ready: Vec::new(), starting: None, enabled, network, failures: 0, wanted: false }
    }

    pub(super) fn wants_one(&self) -> bool {
        self.next().is_some()
    }

    pub(super) fn contains(&self, sandbox: SandboxId) -> bool {
        self.ready.iter().chain(&self.starting).any(|(_, prepared)| *prepared == sandbox)
    }

    /// What is to be prepared next.
    fn next(&self) -> Option<NetworkMode> {
        if !self.enabled || !self.wanted || self.starting.is_some() || self.failures >= FAILURES_MAX {
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
        };
        self.prepared.starting = Some((network, spec.sandbox));
        if let Err(error) = self.start(None, &spec) {
            self.prepared_failed(&error.into());
        }
    }

    pub(super) fn prepared_ready(&mut self, sandbox: SandboxId) {
        if let Some(prepared) = self.prepared.starting.take_if(|(_, starting)| *starting == sandbox) {
            self.prepared.ready.push(prepared);
            self.prepared.failures = 0;
        }
    }

    pub(super) fn prepared_failed(&mut self, failure: &Failure) {
        super::tell(format_args!("prepare a sandbox ahead: {failure}"));
        self.prepared.starting = None;
        self.prepared.failures += 1;
    }

    /// Forgets one that has ended. Returns whether it was one of these.
    pub(super) fn prepared_forget(&mut self, sandbox: SandboxId) -> bool {
        let known = self.prepared.contains(sandbox);
        if known {
            self.prepared.ready.retain(|(_, prepared)| *prepared != sandbox);
            self.prepared.starting.take_if(|(_, prepared)| *prepared == sandbox);
        }
        known
    }

    /// Answers a request with a prepared sandbox. Returns whether there was one that fits.
    pub(super) fn prepared_hand_over(&mut self, number: u64, spec: &LaunchSpec) -> Result<bool, StepError> {
        self.prepared.wanted = true;
        let usual = spec.ephemeral
            && spec.image == ImageName::Host
            && spec.limits.open_files == Limits::default().open_files;
        let position = self.prepared.ready.iter().position(|(network, _)| *network == spec.network);
        let (true, Some(position)) = (usual, position) else { return Ok(false) };
        let (_, prepared) = self.prepared.ready.swap_remove(position);
        let Some(mut running) = self.running.remove(&prepared) else { return Ok(false) };
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
        Ok(true)
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
            .chain(self.prepared.starting.take())
            .map(|(_, sandbox)| sandbox)
            .collect();
        for sandbox in known {
            self.end_whole(sandbox);
        }
    }
}
