//! The launcher's loop: one request or one event at a time, in the order in which they come.

use std::{
    collections::HashMap,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use protocol::{
    SandboxId,
    launcher::{Call, LaunchSpec, Reply, Request, Stats},
};
use rustix::{
    event::{Timespec, epoll},
    fs::{MemfdFlags, SealFlags},
};

use super::{
    AtServerEnd, LauncherConfig,
    calls::{self, Incoming},
    cleaning::Ended,
    groups,
    layer::Layers,
    network::Uplink,
    offload::{Offloaded, WORKERS_KEPT},
    prepared::Prepared,
    running::{Phase, Running, Waiting},
    slots::Slots,
    sweeping::Sweeping,
    trees,
    worker::Worker,
};
use crate::{
    apply::Trees,
    failure::{Step, StepError},
    plan::seccomp,
    sys::FilterInstruction,
};

/// Everything the launcher has.
pub(super) struct Launcher {
    pub(super) config: LauncherConfig,
    pub(super) socket: OwnedFd,
    pub(super) epoll: OwnedFd,
    pub(super) trees: Trees,
    pub(super) layers: Layers,
    pub(super) slots: Slots,
    pub(super) uplink: Uplink,
    pub(super) agent: OwnedFd,
    pub(super) seccomp: Vec<FilterInstruction>,
    pub(super) running: HashMap<SandboxId, Running>,
    pub(super) prepared: Prepared,
    pub(super) ended: Ended,
    pub(super) offloaded: HashMap<SandboxId, Offloaded>,
    /// Those that have nothing to do.
    pub(super) workers: Vec<Worker>,
    pub(super) sweeping: Sweeping,
    /// Which sandbox an event is of, by the number it was registered with.
    pub(super) events: HashMap<u64, (SandboxId, Source)>,
    event_next: u64,
}

/// What happened.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// The child's report ended.
    Report,
    /// The first process ended.
    Exit,
    /// The work on its layer ended.
    Offloaded,
}

/// How long nothing must have come in before an ended sandbox is cleaned up: a request in the middle of its own
/// steps is not to wait for another's.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000 };
/// A sandbox is prepared as soon as nothing waits: the next request may want it when this one is answered.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The event number of the server's socket.
const SOCKET: u64 = 0;

impl Launcher {
    /// Sets everything up. Runs in the launcher's own process.
    pub(super) fn new(config: LauncherConfig, socket: OwnedFd) -> Result<Self, StepError> {
        let _ = rustix::thread::set_name(c"atoll-launcher");
        groups::instance_make(&config.host.cgroups, config.instance)?;
        let uplink = Uplink::open(&config)?;
        let trees = trees::make(&config.data, &config.host.cgroups, &config.volume_prefixes)?;
        let layers = Layers::open(&config.data, config.subvolumes)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).step(|| "make an epoll".to_owned())?;
        epoll::add(&epoll, &socket, epoll::EventData::new_u64(SOCKET), epoll::EventFlags::IN)
            .step(|| "watch the server's socket".to_owned())?;
        let mut launcher = Self {
            agent: agent_seal(config.agent)?,
            slots: Slots::new(config.instance),
            seccomp: seccomp::compile(),
            running: HashMap::new(),
            prepared: Prepared::new(config.prepare_ahead, config.network.is_some()),
            ended: Ended::default(),
            offloaded: HashMap::new(),
            workers: Vec::new(),
            sweeping: Sweeping::new(),
            events: HashMap::new(),
            event_next: SOCKET + 1,
            config,
            socket,
            epoll,
            trees,
            layers,
            uplink,
        };
        launcher.strangers_end()?;
        launcher.adopt_all()?;
        Ok(launcher)
    }

    /// Serves until the server is gone. What runs then goes on or is ended, as the configuration says.
    pub(super) fn run(mut self) -> i32 {
        // Not before: they would hold the pipe that tells of readiness.
        let ahead = if self.config.prepare_ahead { WORKERS_KEPT } else { 0 };
        for _ in 0..ahead {
            match Worker::start(&self.layers, &self.socket) {
                Ok(worker) => self.workers.push(worker),
                Err(error) => self.report_error(Err(error)),
            }
        }
        let mut buffer = calls::buffer();
        let mut events = Vec::with_capacity(64);
        loop {
            self.sweep_if_due();
            events.clear();
            let wait = match (self.prepared.wants_one(), self.ended.is_empty()) {
                (true, _) => Some(AT_ONCE),
                (false, false) => Some(QUIET),
                (false, true) => self.sweeping.wait(),
            };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    super::tell(format_args!("wait for events: {errno}"));
                    return 1;
                }
            }
            let mut server = false;
            for event in &events {
                match event.data.u64() {
                    SOCKET => server = true,
                    number => self.event(number),
                }
            }
            while server {
                match calls::receive(&self.socket, &mut buffer) {
                    Incoming::Call(call) => self.call(call),
                    Incoming::Nothing => server = false,
                    Incoming::Closed => {
                        self.server_gone();
                        return 0;
                    }
                }
            }
            if events.is_empty() {
                if self.prepared.wants_one() {
                    self.prepare_ahead();
                } else {
                    self.clean_oldest();
                }
            }
        }
    }

    fn server_gone(&mut self) {
        self.clean_all();
        self.prepared_end();
        match self.config.at_server_end {
            AtServerEnd::LeaveSandboxes => {}
            AtServerEnd::EndSandboxes => self.all_end(),
        }
    }

    fn event(&mut self, number: u64) {
        match self.events.get(&number).copied() {
            Some((sandbox, Source::Report)) => {
                self.events.remove(&number);
                self.child_reported(sandbox);
            }
            Some((sandbox, Source::Offloaded)) => {
                self.events.remove(&number);
                self.offload_ended(sandbox);
            }
            Some((sandbox, Source::Exit)) => {
                // It may have failed to start: then its report is what counts. One that was prepared may get
                // another name by it.
                if self.is_starting(sandbox) {
                    self.child_reported(sandbox);
                }
                if let Some((sandbox, _)) = self.events.remove(&number) {
                    self.child_ended(sandbox);
                }
            }
            None => {}
        }
    }

    pub(super) fn call(&mut self, call: Call) {
        let Some(Call { number, request }) = self.offload_defer(call) else { return };
        match &request {
            Request::Launch(LaunchSpec { sandbox, .. })
            | Request::Freeze(sandbox)
            | Request::Thaw(sandbox)
            | Request::Stats(sandbox) => self.clean_now(*sandbox),
            Request::Inventory { .. } => self.clean_all(),
            Request::Kill(_)
            | Request::Remove(_)
            | Request::SnapshotCreate { .. }
            | Request::SnapshotRestore { .. }
            | Request::SnapshotRemove(_)
            | Request::SnapshotNote(_)
            | Request::SnapshotList { .. }
            | Request::NetworkPolicySet { .. }
            | Request::NetworkAddresses { .. }
            | Request::VolumeCreate { .. }
            | Request::VolumeRemove(_)
            | Request::VolumeList { .. } => {}
        }
        match request {
            Request::Launch(spec) => self.launch(number, &spec),
            Request::Freeze(sandbox) => self.frozen_set(number, sandbox, groups::freeze),
            Request::Thaw(sandbox) => self.frozen_set(number, sandbox, groups::thaw),
            Request::Kill(sandbox) => self.end(sandbox, Waiting { number, remove: false }),
            Request::Remove(sandbox) => self.end(sandbox, Waiting { number, remove: true }),
            Request::Stats(sandbox) => {
                let mut stats = groups::stats(&self.cgroup_of(sandbox));
                self.layers.stats_add(sandbox, &mut stats);
                self.answer_stats(number, stats);
            }
            Request::SnapshotCreate { sandbox, snapshot, note, total_bytes } => {
                self.snapshot_create(number, sandbox, snapshot, note, total_bytes);
            }
            Request::SnapshotNote(snapshot) => match self.layers.snapshot_note(snapshot) {
                Ok(note) => calls::send(&self.socket, &Reply::SnapshotNote { number, note }, None),
                Err(error) => self.answer_failed(number, error),
            },
            Request::SnapshotRestore { sandbox, snapshot, disk_bytes, total_bytes } => {
                self.snapshot_restore(number, sandbox, snapshot, disk_bytes, total_bytes);
            }
            Request::SnapshotRemove(snapshot) => {
                self.answer_done(number, self.layers.snapshot_remove(snapshot));
            }
            Request::SnapshotList { after } => match self.snapshot_page(after) {
                Ok(snapshots) => calls::send(&self.socket, &Reply::Snapshots { number, snapshots }, None),
                Err(error) => self.answer_failed(number, error),
            },
            Request::Inventory { after } => match self.inventory_page(after) {
                Ok(sandboxes) => calls::send(&self.socket, &Reply::Inventory { number, sandboxes }, None),
                Err(error) => self.answer_failed(number, error),
            },
            Request::NetworkPolicySet { sandbox, policy, known } => {
                self.network_policy_set(number, sandbox, policy, &known);
            }
            Request::NetworkAddresses { sandbox, known } => self.network_addresses(number, sandbox, &known),
            Request::VolumeCreate { volume, bytes } => {
                self.answer_done(number, self.layers.volume_create(volume, bytes));
            }
            Request::VolumeRemove(volume) => self.answer_done(number, self.layers.volume_remove(volume)),
            Request::VolumeList { after } => match self.volume_page(after) {
                Ok(volumes) => calls::send(&self.socket, &Reply::Volumes { number, volumes }, None),
                Err(error) => self.answer_failed(number, error),
            },
        }
    }

    fn frozen_set(
        &mut self,
        number: u64,
        sandbox: SandboxId,
        set: fn(&crate::plan::CgroupPlan) -> Result<(), StepError>,
    ) {
        self.answer_done(number, set(&self.cgroup_of(sandbox)));
    }

    /// Has the launcher woken when a descriptor can be read. Returns the event's number.
    pub(super) fn watch_fd(
        &mut self,
        fd: BorrowedFd<'_>,
        sandbox: SandboxId,
        source: Source,
    ) -> Result<u64, StepError> {
        let number = self.event_next;
        self.event_next += 1;
        // Once: a report or an end is handled whole.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(number), flags)
            .step(|| "watch the sandbox".to_owned())?;
        self.events.insert(number, (sandbox, source));
        Ok(number)
    }

    /// Watches a sandbox's start and end.
    pub(super) fn watch(&mut self, mut running: Running) -> Result<(), StepError> {
        let sandbox = running.sandbox;
        let added = match &running.phase {
            Phase::Starting { report, .. } => {
                self.watch_fd(report.as_fd(), sandbox, Source::Report).map(|_| ())
            }
            _ => Ok(()),
        };
        let added = added.and_then(|()| self.watch_fd(running.pidfd.as_fd(), sandbox, Source::Exit));
        match added {
            Ok(number) => {
                running.exit_event = number;
                self.running.insert(sandbox, running);
                Ok(())
            }
            Err(error) => {
                self.end_now(&running);
                Err(error)
            }
        }
    }

    fn answer_done(&self, number: u64, done: Result<(), StepError>) {
        match done {
            Ok(()) => calls::send(&self.socket, &Reply::Done { number }, None),
            Err(error) => self.answer_failed(number, error),
        }
    }

    pub(super) fn answer_failed(&self, number: u64, error: StepError) {
        calls::send(&self.socket, &Reply::Failed { number, failure: error.into() }, None);
    }

    pub(super) fn answer_stats(&self, number: u64, stats: Stats) {
        calls::send(&self.socket, &Reply::Stats { number, stats }, None);
    }

    /// Tells the operator of something that failed where nobody waits for an answer.
    pub(super) fn report_error(&self, result: Result<(), StepError>) {
        if let Err(error) = result {
            super::tell(error);
        }
    }
}

/// The agent's program in a file without a name that nobody can change (memfd_create(2), F_ADD_SEALS):
/// a sandbox's root can't write to it through `/proc/1/exe` (CVE-2019-5736).
fn agent_seal(agent: &[u8]) -> Result<OwnedFd, StepError> {
    let seal = || -> std::io::Result<OwnedFd> {
        let fd = rustix::fs::memfd_create("atoll-agent", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(fd);
        file.write_all(agent)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(file.as_fd(), seals)?;
        Ok(file.into())
    };
    seal().step(|| "seal the agent".to_owned())
}
