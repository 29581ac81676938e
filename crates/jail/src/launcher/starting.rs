//! Starting a sandbox: everything up to the clone, and the answer once its agent runs or could not.

use std::{
    io::Read,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use protocol::{
    HostPath, SandboxId,
    launcher::{Failure, LaunchSpec, LaunchTimings, NetworkMode, Reply},
    limits::MEMORY_BYTES_MIN,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    pipe::{PipeFlags, pipe_with},
};

use super::{
    calls, groups,
    offload::Then,
    running::{Phase, Running},
    serve::Launcher,
    worker::LayerWork,
};
use crate::{
    apply::{self, Parts},
    failure::{Step, StepError},
    plan::{self, LaunchPlan, NetworkPlan, Slot},
    sys::{self, namespace},
};

/// All but the user namespace: that is entered last, by its descriptor. The cgroup namespace is made when
/// the groups have been entered.
const NAMESPACES: u64 =
    namespace::MOUNT | namespace::PID | namespace::NETWORK | namespace::IPC | namespace::UTS;

/// Connections that may wait while the agent starts.
const LISTEN_BACKLOG: i32 = 128;

impl Launcher {
    /// Starts a sandbox. The answer comes now if a step fails here, else when the child reports.
    pub(super) fn launch(&mut self, number: u64, spec: &LaunchSpec) {
        let launched = self.spec_check(spec).and_then(|()| match spec.origin {
            Some(origin) if !self.layers.exists(spec.sandbox) => {
                let (sandbox, disk_bytes) = (spec.sandbox, spec.limits.disk_bytes);
                // One of which nothing is kept is gone before anything could add up.
                let total_bytes = (!spec.ephemeral).then_some(spec.total_bytes);
                let then = Then::Launch { number, spec: Box::new(spec.clone()) };
                let work = LayerWork::SnapshotRestore { sandbox, snapshot: origin, disk_bytes, total_bytes };
                self.offload(sandbox, then, work);
                Ok(())
            }
            _ if self.prepared_use(number, spec)? => Ok(()),
            _ => self.start(Some(number), spec),
        });
        if let Err(error) = launched {
            self.answer_failed(number, error);
        }
    }

    /// Starts a first process for a request, or ahead of one.
    pub(super) fn start(&mut self, number: Option<u64>, spec: &LaunchSpec) -> Result<(), StepError> {
        let slot =
            self.slots.take().ok_or_else(|| StepError::new("take a slot: all are in use", Errno::AGAIN))?;
        let plan = plan::launch_plan(spec, slot, &self.config.host);
        let mut timings = LaunchTimings::default();
        let start = Instant::now();
        let overlays = plan::layer_folders(&plan.mounts);
        let ensured = self.layers.ensure(spec.sandbox, &overlays, plan.disk_bytes).and_then(|made| {
            Ok((made, if made { None } else { self.layers.lend(spec.sandbox, plan.disk_bytes)? }))
        });
        let (layer_made, loan) = match ensured {
            Ok(ensured) => ensured,
            Err(error) => {
                self.slots.release(slot);
                return Err(error);
            }
        };
        timings.layer_us = micros(start);
        match self.clone_child(number, &plan, layer_made, timings) {
            Ok(running) => self.watch(Running { loan, ..running }),
            Err(error) => {
                // Otherwise each such launch would leave its sandbox more room.
                let ended = loan.map_or(Ok(()), |loan| self.layers.loan_end(spec.sandbox, &loan));
                self.report_error(ended);
                self.undo(slot, &plan, layer_made);
                Err(error)
            }
        }
    }

    /// The server may be taken over: what it asks for is checked as if it came from a stranger.
    fn spec_check(&mut self, spec: &LaunchSpec) -> Result<(), StepError> {
        let refuse = |step: &str, errno| Err(StepError::new(format!("check the request: {step}"), errno));
        if self.running.contains_key(&spec.sandbox) || self.prepared.is_promised(spec.sandbox) {
            return refuse("the sandbox runs already", Errno::EXIST);
        }
        let limits = &spec.limits;
        if limits.memory_bytes < MEMORY_BYTES_MIN {
            return refuse("memory is below the minimum", Errno::INVAL);
        }
        if limits.cpu_millis < 10 || limits.pids < 2 || limits.open_files < 16 || limits.disk_bytes == 0 {
            return refuse("a limit is below its minimum", Errno::INVAL);
        }
        if spec.network == NetworkMode::Nat && self.config.network.is_none() {
            return refuse("this host has no address translation (see `atoll doctor`)", Errno::OPNOTSUPP);
        }
        if spec.network_policy.is_some() {
            if spec.network != NetworkMode::Nat {
                return refuse("a network policy without a network", Errno::INVAL);
            }
            self.uplink.policies()?;
        }
        self.volumes_check(spec)
    }

    fn clone_child(
        &mut self,
        number: Option<u64>,
        plan: &LaunchPlan,
        layer_made: bool,
        mut timings: LaunchTimings,
    ) -> Result<Running, StepError> {
        let volume_owners = self.volume_owners(plan)?;
        let listener = self.socket_make(plan.sandbox)?;
        let start = Instant::now();
        let cgroup = groups::create(&plan.cgroup)?;
        timings.cgroup_us = micros(start);
        let pipe = || pipe_with(PipeFlags::CLOEXEC).step(|| "make a pipe".to_owned());
        let ((report_read, report_write), (ready_read, ready_write)) = (pipe()?, pipe()?);
        let (layer, volumes) = (self.config.data.layer(plan.sandbox), self.config.data.volumes());
        let parts = Parts {
            user_namespace: self.slots.user_namespace(plan.slot)?,
            layer: &layer,
            trees: &self.trees,
            volumes: &volumes,
            volume_prefixes: &self.config.volume_prefixes,
            volume_owners: &volume_owners,
            agent: self.agent.as_fd(),
            listener: listener.as_fd(),
            interface_ready: ready_read.as_fd(),
            seccomp: &self.seccomp,
        };
        let cloned_at = Instant::now();
        let cloned = sys::clone_into(NAMESPACES, cgroup.as_ref().map(AsFd::as_fd))
            .step(|| "clone into new namespaces".to_owned())?;
        let (pid, pidfd) = match cloned {
            sys::Cloned::Parent { pid, pidfd } => (pid, pidfd),
            sys::Cloned::Child => {
                drop(ready_write);
                let failure = Failure::from(apply::become_agent(plan, &parts));
                let report = postcard::to_stdvec(&failure).unwrap_or_default();
                let _ = rustix::io::write(report_write.as_fd(), &report);
                sys::exit_now(1)
            }
        };
        timings.clone_us = micros(cloned_at);
        drop((report_write, ready_read, listener, cgroup));
        let running = Running {
            sandbox: plan.sandbox,
            exit_event: 0,
            slot: plan.slot,
            has_network: matches!(plan.network, NetworkPlan::Nat(_)),
            pid,
            pidfd,
            cgroup: plan.cgroup.clone(),
            phase: Phase::Live,
            layer_made,
            loan: None,
            waiting: Vec::new(),
        };
        let made = self
            .note_write(&running)
            .and_then(|()| self.interface_make(plan, pid, &ready_write, &mut timings));
        if let Err(error) = made {
            self.end_now(&running);
            // A child that had given up before has told why, and is the reason of this.
            return Err(reported(report_read).map_or(error, StepError::from));
        }
        Ok(Running { phase: Phase::Starting { number, report: report_read, timings, cloned_at }, ..running })
    }

    /// Makes the interface pair and lets the child go on.
    fn interface_make(
        &mut self,
        plan: &LaunchPlan,
        pid: i32,
        ready: &OwnedFd,
        timings: &mut LaunchTimings,
    ) -> Result<(), StepError> {
        if let NetworkPlan::Nat(nat) = &plan.network {
            let start = Instant::now();
            self.uplink.interface_create(nat, pid)?;
            if let Some(policy) = &nat.policy {
                self.policy_apply(plan.sandbox, plan.slot, policy.clone(), &[])?;
            }
            timings.network_us = micros(start);
            rustix::io::write(ready, b"1").step(|| "tell of the network interface".to_owned())?;
        }
        Ok(())
    }

    /// The socket that the agent accepts on, in a folder that only the launcher writes.
    fn socket_make(&self, sandbox: SandboxId) -> Result<OwnedFd, StepError> {
        let folder = self.config.data.run_folder(sandbox);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.step(|| format!("make {folder}"))?,
        }
        let path: HostPath = self.config.data.agent_socket(sandbox);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.step(|| format!("remove {path}"))?,
        }
        let make = || -> rustix::io::Result<OwnedFd> {
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_path())?)?;
            rustix::fs::chmod(path.as_path(), rustix::fs::Mode::from_raw_mode(0o600))?;
            let owner = rustix::process::Uid::from_raw(self.config.server_uid);
            let group = rustix::process::Gid::from_raw(self.config.server_gid);
            rustix::fs::chown(path.as_path(), Some(owner), Some(group))?;
            rustix::net::listen(&socket, LISTEN_BACKLOG)?;
            Ok(socket)
        };
        let socket = make().step(|| format!("make the socket {path}"))?;
        Ok(socket)
    }

    /// Takes back what was made for a launch that failed.
    fn undo(&mut self, slot: Slot, plan: &LaunchPlan, layer_made: bool) {
        self.leftovers_remove(plan.sandbox, &plan.cgroup);
        if layer_made {
            self.report_error(self.layers.remove(plan.sandbox));
        }
        if matches!(plan.network, NetworkPlan::Nat(_)) {
            let forgotten = self.uplink.forget(slot);
            self.report_error(forgotten);
        }
        self.slots.release(slot);
    }

    /// The child has executed the agent, or has told why it could not.
    pub(super) fn child_reported(&mut self, sandbox: SandboxId) {
        let Some(running) = self.running.get_mut(&sandbox) else { return };
        let phase = std::mem::replace(&mut running.phase, Phase::Live);
        let Phase::Starting { number, report, mut timings, cloned_at } = phase else {
            running.phase = phase;
            return;
        };
        let _ = rustix::event::epoll::delete(&self.epoll, &report);
        let mut bytes = Vec::new();
        let read = std::fs::File::from(report).read_to_end(&mut bytes);
        timings.child_us = micros(cloned_at);
        let loan_ended = running.loan.take().map_or(Ok(()), |loan| self.layers.loan_end(sandbox, &loan));
        if let Err(error) = loan_ended {
            super::tell(error);
        }
        if read.is_ok() && bytes.is_empty() {
            let Some(number) = number else {
                self.prepared_ready(sandbox);
                return;
            };
            let reply = Reply::Launched { number, pid: running.pid, timings };
            calls::send(&self.socket, &reply, Some(running.pidfd.as_fd()));
            return;
        }
        let failure = postcard::from_bytes(&bytes).unwrap_or(Failure {
            step: "read the report of the launch".to_owned(),
            errno: 0,
            volume: None,
        });
        self.forget_failed(sandbox);
        match number {
            Some(number) => calls::send(&self.socket, &Reply::Failed { number, failure }, None),
            None => self.prepared_failed(&failure),
        }
    }
}

/// The failure that a child which is gone has told, if it did.
fn reported(report: OwnedFd) -> Option<Failure> {
    let mut bytes = Vec::new();
    std::fs::File::from(report).read_to_end(&mut bytes).ok()?;
    postcard::from_bytes(&bytes).ok()
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
