//! The launcher: the only process with privileges. One thread, a closed set of requests, no free paths.
//!
//! It must not know dialects, users or the store: a sandbox to it is an id, a plan and what runs of it.

mod calls;
mod cleaning;
mod ending;
mod groups;
mod inventory;
mod layer;
mod network;
mod prepared;
mod running;
mod serve;
mod slots;
mod starting;
mod trees;

use std::{
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use storage::layout::DataDir;

use crate::{
    failure::{Step, StepError},
    host::HostFacts,
    plan::Instance,
    sys,
};

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
    /// The agent, a static program.
    pub agent: &'static [u8],
    /// What becomes of the sandboxes when the server goes, whichever way it goes.
    pub at_server_end: AtServerEnd,
    /// Whether sandboxes are made ahead of the requests for them: worth it where many will come.
    pub prepare_ahead: bool,
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

/// A launcher that runs.
#[derive(Debug)]
pub struct LauncherProcess {
    /// The server's end of the socket pair. The launcher ends when it is closed.
    pub socket: OwnedFd,
    /// Its process id.
    pub pid: i32,
}

/// Waits until a launcher has ended: it does when the server's end of the socket is closed, after it has done with
/// the sandboxes what it was told to. For the process that started it.
pub fn end_await(pid: i32) {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return };
    let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
}

/// Starts the launcher: everything it needs is made here, so that what fails is told before it is alone;
/// then it is forked off.
///
/// # Errors
/// The step that failed.
///
/// # Panics
/// Never; but the calling process must not have a second thread, and the call refuses if it does.
pub fn start(config: LauncherConfig) -> Result<LauncherProcess, StepError> {
    single_thread()?;
    let (server, launcher) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .step(|| "make the launcher's socket".to_owned())?;
    let (ready_read, ready_write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step(|| "make a pipe".to_owned())?;
    match sys::clone_into(0, None).step(|| "fork the launcher".to_owned())? {
        sys::Cloned::Parent { pid, .. } => {
            drop((launcher, ready_write));
            readiness_await(ready_read)?;
            Ok(LauncherProcess { socket: server, pid })
        }
        sys::Cloned::Child => {
            drop((server, ready_read));
            let status = match serve::Launcher::new(config, launcher) {
                Ok(launcher) => {
                    drop(ready_write);
                    launcher.run()
                }
                Err(error) => {
                    let report = postcard::to_stdvec(&protocol::launcher::Failure::from(error));
                    let _ = rustix::io::write(ready_write.as_fd(), &report.unwrap_or_default());
                    1
                }
            };
            sys::exit_now(status)
        }
    }
}

/// Waits until the launcher has set itself up: its end of the pipe closes, or tells why not.
fn readiness_await(pipe: OwnedFd) -> Result<(), StepError> {
    use std::io::Read;
    let mut report = Vec::new();
    std::fs::File::from(pipe).read_to_end(&mut report).step(|| "wait for the launcher".to_owned())?;
    if report.is_empty() {
        return Ok(());
    }
    let failure: protocol::launcher::Failure = postcard::from_bytes(&report)
        .map_err(|_| StepError::new("read the launcher's report", rustix::io::Errno::PROTO))?;
    Err(StepError::new(failure.step, rustix::io::Errno::from_raw_os_error(failure.errno)))
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
