//! The words that Atoll's processes speak to each other: server ⇄ launcher and server ⇄ agent.
//!
//! Types and their encoding, nothing else. This crate must not know sockets, tokio, system calls, HTTP
//! or any dialect: what crosses a process boundary can be built, encoded and compared in a test.

pub mod agent;
pub mod entry_name;
pub mod frame;
mod id;
pub mod image;
pub mod launcher;
pub mod limits;
mod path;
pub mod policy;
pub mod volume;
pub mod workspace;

pub use id::{ExecId, SandboxId, SnapshotId, VolumeId};
pub use path::{GuestPath, HostPath, InvalidGuestPath};
