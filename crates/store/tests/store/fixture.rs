//! A store in a folder of its own, and records to put into it.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use protocol::{HostPath, SandboxId, launcher::NetworkMode};
use sha2::{Digest, Sha256};
use store::{Event, OnAccess, SandboxRecord, SandboxState, Store};
use tempfile::TempDir;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) path: HostPath,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = HostPath::new(folder.path().join("atoll.db"));
        Self { folder, path }
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.path).unwrap()
    }

    /// Every file of the folder with the hash of its content.
    pub(crate) fn hashes(&self) -> BTreeMap<String, Vec<u8>> {
        let hash = |path: &Path| Sha256::digest(fs::read(path).unwrap()).to_vec();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (name(&path), hash(&path))).collect()
    }
}

pub(crate) fn at(microsecond: i64) -> Timestamp {
    Timestamp::from_microsecond(microsecond).unwrap()
}

pub(crate) fn record() -> SandboxRecord {
    SandboxRecord {
        id: SandboxId::random(),
        number: None,
        ordinal: None,
        owner: "alice".to_owned(),
        dialect: "vms".to_owned(),
        name: None,
        state: SandboxState::Pending,
        created_at: at(1_700_000_000_000_001),
        started_at: None,
        ended_at: None,
        lease_until: None,
        end: None,
        image: "host".to_owned(),
        network: NetworkMode::None,
        limits: protocol::limits::Limits::default(),
        env: Vec::new(),
        metadata: BTreeMap::new(),
        program: None,
        ephemeral: false,
        last_result: None,
        pending: None,
        entrypoint: None,
        details: None,
        on_access: OnAccess::default(),
        network_policy: None,
        volumes: Vec::new(),
        used_at: None,
        variables: Vec::new(),
    }
}

pub(crate) fn event(sandbox: SandboxId) -> Event {
    Event {
        at: at(1_700_000_000_000_002),
        sandbox: Some(sandbox),
        kind: "sandbox.created".to_owned(),
        actor: "alice".to_owned(),
        detail: serde_json::json!({ "image": "host" }),
    }
}
