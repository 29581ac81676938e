//! What a sandbox is: lifecycle, execs, files, programs, leases, the record of it all.
//!
//! Dialects call [`Engine`]; it calls a [`Runtime`] for processes and the store for records. It must not
//! know HTTP, axum, SQL, system calls or any dialect's words.
//!
//! Each sandbox has one task that owns it (`sandbox::task`); everything that happens to it is a message to
//! that task, and so happens in an order.

mod access;
mod agent;
mod archive;
mod creation;
mod engine;
mod error;
mod events;
mod export;
mod images;
pub mod keys;
mod live_sandboxes;
mod log;
mod machine;
mod native;
mod network_policy;
pub mod program;
mod reconcile;
mod runtime;
mod sandbox;
mod sandbox_spec;
mod settings;
mod snapshot;
mod tokens;
mod volumes;
mod workspace;

pub use access::{AgentStream, InUse, Target};
pub use archive::{Archive, IMPORT_MEMORY_BYTES};
pub use engine::Engine;
pub use error::{Error, ErrorKind, FileProblem, Result};
pub use events::{Event, EventQuery};
pub use export::SnapshotArchive;
pub use images::{ImageFailure, ImageFailureKind, ImageSpec, PullProgress, RegistryLogin, ResolvedImage};
pub use keys::{Key, KeySecret, KeyTable};
pub use log::{LogLine, LogStream};
pub use machine::{MachineSample, MachineStats};
pub use native::NativeRuntime;
pub use runtime::{Exited, Runtime, RuntimeError, RuntimeEvent};
pub use sandbox::CommandOutcome;
pub use sandbox_spec::{
    Beginning, Caller, EndReason, Lease, LimitsSpec, OnAccess, ProgramSummary, Sandbox, SandboxSpec,
    SandboxState, VariableNote,
};
pub use settings::Settings;
pub use snapshot::{Snapshot, SnapshotName, SnapshotSpec};
pub use tokens::{Purpose, has_token_form};
pub use volumes::{Volume, VolumeProblem, VolumeSourceSpec, VolumeSpec};
pub use workspace::{
    ExecResult, ExecRunSpec, FileWriting, Terminal, TerminalEvent, TerminalReader, TerminalSpec,
    TerminalWriter, TreeLimits, Watch, WorkspaceTree,
};
