//! What a client may say of a sandbox it wants, and what it gets to see of one that exists.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use protocol::{SandboxId, SnapshotId, launcher::NetworkMode, limits::Limits, policy::NetworkPolicy};
pub use store::{EndReason, OnAccess, SandboxState, VariableNote};

use crate::{
    ImageSpec, SnapshotSpec, VolumeSpec,
    program::{Language, Mode, Program, ProgramResult},
};

/// Who asks. An owner sees what it made; an administrator sees everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's name for the record; empty where no key is asked for.
    pub owner: String,
    /// Sees and changes everything.
    pub administrator: bool,
}

impl Caller {
    /// The caller on a server that asks for no keys.
    #[must_use]
    pub fn open() -> Self {
        Self { owner: String::new(), administrator: true }
    }
}

/// A sandbox to create.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// The dialect it is made through, for the record.
    pub dialect: &'static str,
    /// Its image.
    pub image: ImageSpec,
    /// Its network; `None` takes what its program needs.
    pub network: Option<NetworkMode>,
    /// Whom it may reach; `None` for whoever is not closed to all. It takes a network.
    pub network_policy: Option<NetworkPolicy>,
    /// Its limits; `None` takes the configured default.
    pub limits: LimitsSpec,
    /// Environment of every process in it, on top of the image's.
    pub env: Vec<(String, String)>,
    /// Free words of the client's.
    pub metadata: BTreeMap<String, String>,
    /// Its name, unique among those that its owner has in this dialect.
    pub name: Option<String>,
    /// When it ends by itself.
    pub lease: Lease,
    /// The program that it is for.
    pub program: Option<Program>,
    /// What runs in it as long as it is up, where it is for no program: program and arguments. It ends with that.
    pub entrypoint: Option<Vec<String>>,
    /// What its use, or no use, brings about.
    pub on_access: OnAccess,
    /// Words of the dialect's own, kept for it.
    pub details: Option<serde_json::Value>,
    /// Folders that outlive it, or belong to the host.
    pub volumes: Vec<VolumeSpec>,
}

impl SandboxSpec {
    /// One with nothing but what is configured.
    #[must_use]
    pub fn new(dialect: &'static str) -> Self {
        Self {
            dialect,
            image: ImageSpec::Host,
            network: None,
            network_policy: None,
            limits: LimitsSpec::default(),
            env: Vec::new(),
            metadata: BTreeMap::new(),
            name: None,
            lease: Lease::Configured,
            program: None,
            entrypoint: None,
            on_access: OnAccess::default(),
            details: None,
            volumes: Vec::new(),
        }
    }
}

/// What is done with a sandbox that is kept up before anybody else can do anything with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Who owns the work folder: a name or a number in the sandbox; its root if there is none.
    pub user: Option<String>,
    /// The snapshot that is taken then.
    pub snapshot: Option<SnapshotSpec>,
    /// The snapshot whose files it begins with. Its image comes from there.
    pub origin: Option<SnapshotId>,
}

/// When a sandbox ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lease {
    /// After the configured time.
    #[default]
    Configured,
    /// After this time.
    After(Duration),
    /// Never.
    Never,
}

/// Limits as a client asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsSpec {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Writable layer in bytes.
    pub disk_bytes: Option<u64>,
}

/// A sandbox as it is now.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Its name everywhere.
    pub id: SandboxId,
    /// Who made it.
    pub owner: String,
    /// The dialect it was made through.
    pub dialect: String,
    /// The name its owner gave it.
    pub name: Option<String>,
    /// A short name that no other sandbox ever has, where the dialect counts.
    pub number: Option<u64>,
    /// The lowest number from 0 on that no other sandbox of its dialect had when it was made, if it has a name. It is
    /// free again when the sandbox is deleted.
    pub ordinal: Option<u32>,
    /// Where it is in its life.
    pub state: SandboxState,
    /// Why it ended, once it has.
    pub end: Option<EndReason>,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When it was last launched.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub ended_at: Option<Timestamp>,
    /// When its lease ends.
    pub lease_until: Option<Timestamp>,
    /// What it was made from: `host`, or the digest of an image.
    pub image: String,
    /// What it may use.
    pub limits: Limits,
    /// Its network.
    pub network: NetworkMode,
    /// Whom it may reach, if that was said.
    pub network_policy: Option<NetworkPolicy>,
    /// The words the client gave.
    pub metadata: BTreeMap<String, String>,
    /// What runs in it as long as it is up.
    pub entrypoint: Option<Vec<String>>,
    /// What its use, or no use, brings about.
    pub on_access: OnAccess,
    /// The dialect's own words.
    pub details: Option<serde_json::Value>,
    /// The environment of its programs, on top of the image's. It may hold secrets.
    pub env: Arc<Vec<(String, String)>>,
    /// What of it was set after it was made, in the order of their numbers.
    pub variables: Arc<Vec<VariableNote>>,
    /// When it was last used, of one whose use renews its lease.
    pub used_at: Option<Timestamp>,
    /// Its program in short.
    pub program: Option<ProgramSummary>,
    /// The result of the program's last run.
    pub last_result: Option<ProgramResult>,
}

/// What one sees of a program without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProgramSummary {
    /// Its language.
    pub language: Language,
    /// How long it lives.
    pub mode: Mode,
    /// The time that one run may take.
    pub timeout: Duration,
    /// Whether it starts a development server.
    pub dev_server: bool,
}
