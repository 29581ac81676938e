//! What the server asks of the launcher: a closed set, without a free path or a command line.
//!
//! Each message is one datagram of a `SOCK_SEQPACKET` pair, in postcard encoding. Replies carry the number
//! of their request; [`Reply::Exited`] comes by itself.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{
    SandboxId, SnapshotId, VolumeId,
    limits::Limits,
    policy::{Action, NetworkPolicy},
    volume::{VolumeFault, VolumeMount},
};

/// The largest datagram, either way.
pub const DATAGRAM_BYTES_MAX: usize = 128 << 10;

/// A request and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the server, unique among those that wait for an answer.
    pub number: u64,
    /// What to do.
    pub request: Request,
}

/// One request. The launcher checks each again: it trusts the server as little as it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Starts a sandbox. Its writable layer is made if it has none, else used as it is.
    /// Answered by [`Reply::Launched`] or [`Reply::Failed`].
    Launch(LaunchSpec),
    /// Stops every process of the sandbox from running, memory kept.
    Freeze(SandboxId),
    /// The reverse of freeze.
    Thaw(SandboxId),
    /// Kills every process of the sandbox, waits for their end and removes its cgroups, network and
    /// sockets. Its layer stays. Answered by [`Reply::Stats`], the last it used, when nothing of it runs;
    /// also for a sandbox that does not run.
    Kill(SandboxId),
    /// Kills as above and removes the layer too. Answered as kill is.
    Remove(SandboxId),
    /// What the sandbox uses now: answered by [`Reply::Stats`].
    Stats(SandboxId),
    /// Keeps the state of a sandbox's layer, running or not, read-only and durable. Answered by [`Reply::Done`]
    /// when it is on the disk. `EDQUOT` when layer and snapshots hold all that they may together.
    SnapshotCreate {
        /// Whose layer.
        sandbox: SandboxId,
        /// Its name. Must be new.
        snapshot: SnapshotId,
        /// What is to be known of it, kept with it; at most [`NOTE_BYTES_MAX`].
        note: Vec<u8>,
        /// What the layer and all its snapshots may hold together.
        total_bytes: u64,
    },
    /// Replaces the layer of a sandbox that does not run by the state of a snapshot, or makes it if there is
    /// none. Durable when answered by [`Reply::Done`]; when it fails the layer is what it was.
    SnapshotRestore {
        /// Whose layer.
        sandbox: SandboxId,
        /// Which state.
        snapshot: SnapshotId,
        /// What the layer may hold.
        disk_bytes: u64,
        /// What the layer and all its snapshots may hold together.
        total_bytes: u64,
    },
    /// Removes a snapshot. [`Reply::Done`], also if there is none.
    SnapshotRemove(SnapshotId),
    /// What was kept with a snapshot: answered by [`Reply::SnapshotNote`].
    SnapshotNote(SnapshotId),
    /// Which snapshots there are, in the order of their ids and from behind the given one on: answered by
    /// [`Reply::Snapshots`].
    SnapshotList {
        /// The last of the page before.
        after: Option<SnapshotId>,
    },
    /// Which sandboxes have a layer or processes here, in the order of their ids and from behind the given one
    /// on: answered by [`Reply::Inventory`].
    Inventory {
        /// The last of the page before.
        after: Option<SandboxId>,
    },
    /// Puts a policy in the place of the one that a running sandbox with a network has, if it has one; all of it at
    /// once. Does nothing if it has that policy already. Answered by [`Reply::NetworkPolicy`].
    NetworkPolicySet {
        /// Whose.
        sandbox: SandboxId,
        /// Whom it may reach.
        policy: NetworkPolicy,
        /// Addresses of names; at most [`ADDRESSES_KNOWN_MAX`].
        known: Vec<KnownAddress>,
    },
    /// Tells of more addresses that names have which the policy of a running sandbox is about. Answered by
    /// [`Reply::Done`]; `ENOENT` when it has no policy.
    NetworkAddresses {
        /// Whose.
        sandbox: SandboxId,
        /// Addresses; at most [`ADDRESSES_KNOWN_MAX`].
        known: Vec<KnownAddress>,
    },
    /// Makes an empty volume, unless it is there. Answered by [`Reply::Done`].
    VolumeCreate {
        /// Its name.
        volume: VolumeId,
        /// What it may hold, where that is limited.
        bytes: u64,
    },
    /// Removes a volume with all it holds. [`Reply::Done`], also if there is none. Whoever asks sees to it that no
    /// sandbox has it.
    VolumeRemove(VolumeId),
    /// Which volumes there are, in the order of their ids and from behind the given one on: answered by
    /// [`Reply::Volumes`].
    VolumeList {
        /// The last of the page before.
        after: Option<VolumeId>,
    },
}

/// Addresses in one request.
pub const ADDRESSES_KNOWN_MAX: usize = 1024;
/// The longest time that an address is known for.
pub const KNOWN_SECONDS_MAX: u32 = 24 * 3600;

/// An address that a name has for some time, and what a policy says of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether it is let through.
    pub action: Action,
    /// How long, from 1 to [`KNOWN_SECONDS_MAX`].
    pub seconds: u32,
}

/// What to launch. Names of things the launcher knows; never a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// The read-only file system below its layer.
    pub image: ImageName,
    /// What it may use.
    pub limits: Limits,
    /// Its network.
    pub network: NetworkMode,
    /// Nothing of its layer is needed after it ends: writes need not reach the disk.
    pub ephemeral: bool,
    /// The state that its layer is made with, if it has none yet; `None` makes an empty one. If that is another
    /// sandbox's and nothing of this one is ephemeral, what the other holds counts against `total_bytes`: `EDQUOT`
    /// when less than the disk limit is left.
    pub origin: Option<SnapshotId>,
    /// What the layer and all its snapshots may hold together.
    pub total_bytes: u64,
    /// Whom it may reach, in force before anything of it runs. Only with [`NetworkMode::Nat`].
    pub network_policy: Option<NetworkPolicy>,
    /// Folders that outlive it, or belong to the host; at most [`crate::volume::VOLUMES_MAX`].
    pub volumes: Vec<VolumeMount>,
}

/// A read-only root file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ImageName {
    /// The host's own `/usr` and what belongs to it.
    Host,
}

/// The network of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Loopback only.
    None,
    /// Outwards through address translation; the host and private ranges stay out of reach.
    Nat,
}

/// One datagram of the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The sandbox's agent was started. Carries a pidfd of it (`SCM_RIGHTS`).
    Launched {
        /// The request.
        number: u64,
        /// The agent's process id on the host.
        pid: i32,
        /// Where the time went.
        timings: LaunchTimings,
    },
    /// The request is done.
    Done {
        /// The request.
        number: u64,
    },
    /// Answer to [`Request::Stats`], [`Request::Kill`] and [`Request::Remove`].
    Stats {
        /// The request.
        number: u64,
        /// What it uses.
        stats: Stats,
    },
    /// Answer to [`Request::Inventory`].
    Inventory {
        /// The request.
        number: u64,
        /// One page; the last is shorter than [`INVENTORY_PAGE`].
        sandboxes: Vec<Found>,
    },
    /// Answer to [`Request::SnapshotList`].
    Snapshots {
        /// The request.
        number: u64,
        /// One page; the last is shorter than [`INVENTORY_PAGE`].
        snapshots: Vec<SnapshotId>,
    },
    /// Answer to [`Request::SnapshotNote`].
    SnapshotNote {
        /// The request.
        number: u64,
        /// What was kept.
        note: Vec<u8>,
    },
    /// Answer to [`Request::NetworkPolicySet`]: it is in force.
    NetworkPolicy {
        /// The request.
        number: u64,
        /// The sandbox's address, by which its questions for names are known.
        address: Ipv4Addr,
    },
    /// The request failed and left nothing behind.
    Failed {
        /// The request.
        number: u64,
        /// Why.
        failure: Failure,
    },
    /// A sandbox's agent, and so all of its processes, ended. What is left of it on the host stays until
    /// [`Request::Kill`] or [`Request::Remove`].
    Exited {
        /// Which sandbox.
        sandbox: SandboxId,
        /// How its agent left; `None` where it could not be learnt.
        status: Option<crate::agent::ExitStatus>,
        /// The last it used.
        stats: Stats,
    },
    /// Answer to [`Request::VolumeList`].
    Volumes {
        /// The request.
        number: u64,
        /// One page; the last is shorter than [`INVENTORY_PAGE`].
        volumes: Vec<VolumeId>,
    },
}

/// Bytes that are kept with a snapshot: well within an extended attribute of any file system that has snapshots.
pub const NOTE_BYTES_MAX: usize = 8 << 10;

/// Sandboxes in a full page of the inventory: well within a datagram.
pub const INVENTORY_PAGE: usize = 4096;

/// A sandbox of which something is on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Which.
    pub sandbox: SandboxId,
    /// It was started and not yet ended.
    pub runs: bool,
    /// It has a layer.
    pub has_layer: bool,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step that failed: `mount overlay on /`, `write memory.limit_in_bytes` …
    pub step: String,
    /// The error number of errno(3); 0 where the kernel gave none.
    pub errno: i32,
    /// The volume that is the reason, if one is.
    pub volume: Option<VolumeFault>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.errno == 0 {
            out.write_str(&self.step)
        } else {
            write!(out, "{}: {}", self.step, std::io::Error::from_raw_os_error(self.errno))
        }
    }
}

/// Where the time of a launch went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTimings {
    /// It had been prepared ahead; the times are those of handing it over.
    pub prepared: bool,
    /// Layer and quota.
    pub layer_us: u32,
    /// Control groups made and written.
    pub cgroup_us: u32,
    /// `clone3` into the new namespaces, as seen by the launcher.
    pub clone_us: u32,
    /// The network interface pair, for [`NetworkMode::Nat`].
    pub network_us: u32,
    /// From clone to the agent's `exec`, the mounts among it.
    pub child_us: u32,
}

/// What a sandbox uses, from its control group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Memory in use.
    pub memory_bytes: u64,
    /// The most it was.
    pub memory_bytes_max: u64,
    /// CPU time used since it was launched.
    pub cpu_us: u64,
    /// Processes and threads.
    pub pids: u64,
    /// How many processes the kernel killed for want of memory.
    pub oom_kills: u64,
    /// How often a process or thread could not be started because of the limit.
    pub pids_refused: u64,
    /// What its layer holds, where that is counted.
    pub disk_bytes: Option<u64>,
    /// What the layer and all its snapshots may still hold together, where that is limited and there were any.
    pub total_left_bytes: Option<u64>,
}
