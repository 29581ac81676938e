//! The launcher: the only process with privileges, its keeper aside. One thread, a closed set of requests, no free paths.
//!
//! It must not know dialects, users or the store: a sandbox to it is an id, a plan and what runs of it.

mod adopting;
mod calls;
mod cleaning;
mod ending;
mod groups;
mod inventory;
mod keeper;
mod layer;
mod layer_budget;
mod layer_snapshots;
mod network;
mod offload;
mod policy;
mod prepared;
mod resolver;
mod running;
mod serve;
mod slots;
mod snapshots;
mod starting;
mod sweeping;
mod trees;
mod volumes;
mod worker;

use std::{net::Ipv4Addr, os::fd::OwnedFd};

use protocol::HostPath;
use storage::layout::DataDir;

pub(crate) use self::keeper::started_receive;
pub use self::{
    keeper::Started,
    resolver::{Resolver, ResolverPorts},
};
use crate::{
    failure::{Step, StepError},
    host::HostFacts,
    plan::Instance,
};

/// Whether this host can give sandboxes a network: whether its kernel takes the rules for it. Needs root.
///
/// # Errors
/// What is missing, in words.
pub fn network_check(instance: Instance, network: &NetworkConfig) -> Result<(), String> {
    network::check(instance, network)
}

/// What the launcher is told once, before it is cut off from the server's memory.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// The data directory, prepared.
    pub data: DataDir,
    /// This server's share of the host.
    pub instance: Instance,
    /// What the host offers.
    pub host: HostFacts,
    /// The user that the server becomes: it may connect to the agents.
    pub server_uid: u32,
    /// The group of that user.
    pub server_gid: u32,
    /// Whether layers are btrfs subvolumes, and so are limited in size.
    pub subvolumes: bool,
    /// Address translation for sandboxes with a network; `None` where the host can't do it.
    pub network: Option<NetworkConfig>,
    /// Where questions for names are led to that come from sandboxes with a policy; [`start`] fills it in.
    pub resolver: Option<ResolverPorts>,
    /// The agent, a static program.
    pub agent: &'static [u8],
    /// What becomes of the sandboxes when the server goes, whichever way it goes.
    pub at_server_end: AtServerEnd,
    /// Whether sandboxes are made ahead of the requests for them: worth it where many will come.
    pub prepare_ahead: bool,
    /// Folders of the host below which sandboxes may have volumes: whole paths without links.
    pub volume_prefixes: Vec<HostPath>,
}

/// What the launcher does with the sandboxes of a server that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtServerEnd {
    /// They go on, and are there for the next server of the same data directory.
    LeaveSandboxes,
    /// They are ended and removed, with all that they wrote: no other server will come for them.
    EndSandboxes,
}

/// The way outwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Where names are asked, and nothing else is reachable there.
    pub nameservers: Vec<Ipv4Addr>,
    /// Networks that are reachable although they are private: address and prefix length.
    pub allowed: Vec<(Ipv4Addr, u8)>,
}

/// A launcher that runs, and what starts another one if it dies.
#[derive(Debug)]
pub struct LauncherProcess {
    /// The launcher.
    pub launcher: Started,
    /// The server's end of the keeper's socket: from it comes the next one. The keeper ends when it is closed.
    pub keeper: OwnedFd,
    /// The keeper's process id.
    pub keeper_pid: i32,
    /// Where questions for names come in from sandboxes with a policy; none where there are no networks.
    pub resolver: Option<Resolver>,
}

/// Waits until a keeper has ended, and its launcher with it: they do when the server's ends of their sockets are
/// closed, after the launcher has done with the sandboxes what it was told to. For the process that started them.
pub fn end_await(keeper_pid: i32) {
    let Some(pid) = rustix::process::Pid::from_raw(keeper_pid) else { return };
    let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
}

/// Starts the launcher, below a keeper. What fails is told here, before both are alone.
///
/// # Errors
/// The step that failed.
///
/// # Panics
/// Never; but the calling process must not have a second thread, and the call refuses if it does.
pub fn start(mut config: LauncherConfig) -> Result<LauncherProcess, StepError> {
    single_thread()?;
    let open = |network: &NetworkConfig| Resolver::open(config.instance, network.nameservers.clone());
    let resolver = config.network.as_ref().map(open).transpose()?;
    config.resolver = resolver.as_ref().map(Resolver::ports).transpose()?;
    let (keeper, keeper_pid) = keeper::keeper_start(config)?;
    let launcher = started_receive(&keeper)?;
    Ok(LauncherProcess { launcher, keeper, keeper_pid, resolver })
}

/// Tells the operator something. A log that is full or closed must not end the launcher, as `eprintln!` would.
fn tell(what: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "atoll launcher: {what}");
}

fn single_thread() -> Result<(), StepError> {
    let threads = std::fs::read_dir("/proc/self/task").step(|| "count threads".to_owned())?.count();
    if threads == 1 {
        Ok(())
    } else {
        Err(StepError::new("start the launcher from a process with threads", rustix::io::Errno::BUSY))
    }
}
