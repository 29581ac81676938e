//! Snapshots, restores and forks over HTTP, in turns with the bare system call on the same file system.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    failure::{During, Failure, Outcome},
    http::{self, Connection},
    live_sandbox::LiveSandbox,
    samples::Samples,
    server::Server,
};

/// Snapshots of one sandbox when many are compared with few.
const FEW: usize = 10;
const MANY: usize = 1000;
/// Files of a small and of a large layer.
const SMALL: usize = 10;
const LARGE: usize = 20_000;
/// Sandboxes made by one fork, and sandboxes that a new server finds.
pub(crate) const FORKS: usize = 100;
const ADOPTED: usize = 500;

/// How often each thing is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) snapshots: usize,
    pub(crate) forks: usize,
}

/// The times.
#[derive(Default)]
pub(crate) struct Times {
    /// The bare ioctl, and Atoll, of a layer with few files and with many.
    pub(crate) bare: [Samples; 2],
    pub(crate) snapshot: [Samples; 2],
    /// Atoll, with few snapshots there and with many; and the bare ioctl on the same two file systems.
    pub(crate) with_few: Samples,
    pub(crate) with_many: Samples,
    pub(crate) bare_with_few: Samples,
    pub(crate) bare_with_many: Samples,
    /// A command and the snapshot after it.
    pub(crate) run: Samples,
    /// A restore and the first command after it.
    pub(crate) restore: Samples,
    /// One sandbox into [`FORKS`], all of them answering.
    pub(crate) fork: Samples,
    /// From start to first answer, with [`ADOPTED`] sandboxes that run.
    pub(crate) adoption: Samples,
}

/// Measures everything. `server` is killed and started again for it; `few` is one with little in its storage.
pub(crate) fn measure(server: &mut Server, few: &Server, effort: Effort) -> Outcome<Times> {
    let mut times = Times::default();
    // First, so that the two storages differ in nothing but the number of snapshots.
    crowd(server, few, effort, &mut times)?;
    server.storage_settle()?;
    let mut connection = server.connect()?;
    for (size, files) in [SMALL, LARGE].into_iter().enumerate() {
        snapshots(server, &mut connection, files, size, effort, &mut times)?;
        server.storage_settle()?;
    }
    commands(&mut connection, effort, &mut times)?;
    server.storage_settle()?;
    forks(server, &mut connection, effort, &mut times)?;
    Ok(times)
}

/// Snapshots by the bare call, of a sandbox's own layer: what Atoll adds to it is what is compared.
struct Bare {
    folder: PathBuf,
    layer: File,
    count: usize,
}

impl Bare {
    fn prepare(server: &Server, live: &LiveSandbox) -> Outcome<Self> {
        let folder = server.storage().join("bench");
        fs::create_dir(&folder).during("make a folder in the storage")?;
        let layer = File::open(server.storage().join("sandboxes").join(live.id()));
        Ok(Self { folder, layer: layer.during("open the sandbox's layer")?, count: 0 })
    }

    /// Writes a file and snapshots the layer. Returns the time of the snapshot.
    fn time(&mut self, live: &LiveSandbox) -> Outcome<Duration> {
        write(live)?;
        let parent = File::open(&self.folder).during("open the folder")?;
        self.count += 1;
        let name = self.count.to_string();
        let start = Instant::now();
        jail::btrfs_snapshot_create(self.layer.as_fd(), parent.as_fd(), &name)
            .during("take a bare snapshot")?;
        Ok(start.elapsed())
    }

    fn remove(self) -> Outcome<()> {
        let parent = File::open(&self.folder).during("open the folder")?;
        for number in 1..=self.count {
            jail::btrfs_subvolume_destroy(parent.as_fd(), &number.to_string()).during("remove a snapshot")?;
        }
        fs::remove_dir(&self.folder).during("remove the folder")
    }
}

fn snapshots(
    server: &Server,
    connection: &mut Connection,
    files: usize,
    size: usize,
    effort: Effort,
    times: &mut Times,
) -> Outcome<()> {
    let live = LiveSandbox::start(server, connection)?;
    live.run(&["sh", "-c", &format!("cd /sandbox && seq {files} | xargs touch")])?;
    let mut bare = Bare::prepare(server, &live)?;
    bare.time(&live)?;
    snapshot(connection, &live)?;
    for _ in 0..effort.snapshots {
        times.bare[size].push(bare.time(&live)?);
        times.snapshot[size].push(snapshot(connection, &live)?);
    }
    live.delete(connection)?;
    bare.remove()
}

fn write(live: &LiveSandbox) -> Outcome<()> {
    live.run(&["sh", "-c", "date > /sandbox/now"]).map(drop)
}

/// Writes a file and takes a snapshot. Returns the time of the snapshot.
fn snapshot(connection: &mut Connection, live: &LiveSandbox) -> Outcome<Duration> {
    write(live)?;
    let path = format!("/admin/api/sandboxes/{}/snapshots", live.id());
    let request = http::request("POST", &path, "{}");
    let start = Instant::now();
    let answer = connection.ask(&request).during("take a snapshot")?;
    let took = start.elapsed();
    if answer.status == 201 { Ok(took) } else { Err(Failure::new("take a snapshot", answer.body)) }
}

/// Snapshots where there are many, in turns with snapshots on another server where there are few.
fn crowd(many: &Server, few: &Server, effort: Effort, times: &mut Times) -> Outcome<()> {
    let (mut to_many, mut to_few) = (many.connect()?, few.connect()?);
    let crowded = LiveSandbox::start(many, &mut to_many)?;
    let alone = LiveSandbox::start(few, &mut to_few)?;
    for _ in 0..MANY {
        snapshot(&mut to_many, &crowded)?;
    }
    for _ in 0..FEW {
        snapshot(&mut to_few, &alone)?;
    }
    let (mut bare_many, mut bare_few) = (Bare::prepare(many, &crowded)?, Bare::prepare(few, &alone)?);
    for _ in 0..effort.snapshots {
        times.with_many.push(snapshot(&mut to_many, &crowded)?);
        times.with_few.push(snapshot(&mut to_few, &alone)?);
        times.bare_with_many.push(bare_many.time(&crowded)?);
        times.bare_with_few.push(bare_few.time(&alone)?);
    }
    bare_many.remove()?;
    bare_few.remove()?;
    alone.delete(&mut to_few)?;
    crowded.delete(&mut to_many)
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

fn commands(connection: &mut Connection, effort: Effort, times: &mut Times) -> Outcome<()> {
    let made = ask(connection, &http::request("POST", "/api-keys", "{}"))?;
    let Key { key } = serde_json::from_str(&made).during("read the key")?;
    let request = |method: &str, path: &str, body: &str| http::request_with_key(method, path, &key, body);
    ask(connection, &request("POST", "/vms", r#"{"name":"bench"}"#))?;
    let run = request("POST", "/vms/bench/run", r#"{"command":"true"}"#);
    let restore = request("POST", "/vms/bench/snapshots/initial/restore", "");
    ask(connection, &run)?;
    for _ in 0..effort.snapshots {
        let start = Instant::now();
        ask(connection, &run)?;
        times.run.push(start.elapsed());
    }
    for _ in 0..effort.snapshots {
        let start = Instant::now();
        ask(connection, &restore)?;
        ask(connection, &run)?;
        times.restore.push(start.elapsed());
    }
    ask(connection, &request("DELETE", "/vms/bench", "")).map(drop)
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

fn forks(server: &mut Server, connection: &mut Connection, effort: Effort, times: &mut Times) -> Outcome<()> {
    // Once there is a key, everything asks for one.
    let admin = server.key_create()?;
    let request = |method: &str, path: &str, body: &str| http::request_with_key(method, path, &admin, body);
    let program = r#"{"runtime":"bash","code":"echo kept > file"}"#;
    let Made { id } = serde_json::from_str(&ask(connection, &request("POST", "/sandbox", program))?)
        .during("read the sandbox")?;
    ask(connection, &request("POST", &format!("/sandbox/{id}/execute"), ""))?;
    let fork = |connection: &mut Connection, count: usize| -> Outcome<Vec<Made>> {
        let body = format!(r#"{{"count":{count}}}"#);
        let made = ask(connection, &request("POST", &format!("/admin/api/sandboxes/{id}/fork"), &body))?;
        serde_json::from_str(&made).during("read the forks")
    };
    let delete = |connection: &mut Connection, all: Vec<Made>| -> Outcome<()> {
        all.iter().try_for_each(|made| {
            ask(connection, &request("DELETE", &format!("/sandbox/{}", made.id), "")).map(drop)
        })
    };
    for _ in 0..effort.forks {
        let start = Instant::now();
        let made = fork(connection, FORKS)?;
        times.fork.push(start.elapsed());
        delete(connection, made)?;
        server.storage_settle()?;
    }
    let mut all = Vec::new();
    while all.len() < ADOPTED {
        let count = FORKS.min(ADOPTED - all.len());
        all.extend(fork(connection, count)?);
    }
    for _ in 0..effort.forks {
        times.adoption.push(server.kill_and_start_again()?);
    }
    *connection = server.connect()?;
    delete(connection, all)
}

fn ask(connection: &mut Connection, request: &[u8]) -> Outcome<String> {
    let answer = connection.ask(request).during("ask the server")?;
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    Err(Failure::new("ask the server", format!("status {}: {}", answer.status, answer.body)))
}
