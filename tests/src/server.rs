//! A real server for one test: its own address and data directory, and nothing left of it afterwards.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    client::Client,
    deadline::{found, wait_until},
    keys::Key,
    processes::{children_of, status_field},
    traces::Traces,
};

/// How long a server may take to answer, or to end, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sandboxes that a server at rest keeps ready for the next requests, and those of them with a network.
const PREPARED: usize = 5;
const PREPARED_WITH_NETWORK: usize = 1;
/// As long as this many looks in a row.
const LOOKS_AT_REST: usize = 5;
/// A port that was free when it was looked for may be taken a moment later; then another is tried.
const START_ATTEMPTS: usize = 5;

/// The program under test, `$ATOLL_BIN` or what the release build leaves.
#[must_use]
pub fn atoll() -> PathBuf {
    env::var_os("ATOLL_BIN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/atoll"), PathBuf::from)
}

/// The installed toolchains, `$ATOLL_TOOLCHAINS` or where a server keeps them.
#[must_use]
pub fn toolchains() -> PathBuf {
    env::var_os("ATOLL_TOOLCHAINS").map_or_else(|| PathBuf::from("/var/lib/atoll/toolchains"), PathBuf::from)
}

/// A running server. It is also a [`Client`] of itself.
#[derive(Debug)]
pub struct Server {
    child: Child,
    client: Client,
    address: SocketAddr,
    data: PathBuf,
    options: Vec<String>,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Server {
    /// Starts a server with default settings.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these options on top.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn start_with(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: paths of sockets below it have to fit into 108 bytes.
        let data = PathBuf::from(format!("/var/tmp/atoll-t{}-{count}", std::process::id()));
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (child, address) = serving(&data, &options).unwrap_or_else(|why| panic!("{why}"));
        Self { child, client: Client::new(address), address, data, options }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process that answers requests.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process that starts launchers: the server's only child.
    ///
    /// # Panics
    /// When it has another number of children.
    #[must_use]
    pub fn keeper_pid(&self) -> u32 {
        let children = children_of(self.pid());
        assert_eq!(children.len(), 1, "children of the server: {children:?}");
        children[0]
    }

    /// The process that launches sandboxes: the keeper's only child.
    ///
    /// # Panics
    /// When it has another number of children, for seconds.
    #[must_use]
    pub fn launcher_pid(&self) -> u32 {
        let keeper = self.keeper_pid();
        let launcher = found(PATIENCE, || match children_of(keeper).as_slice() {
            [launcher] => Some(*launcher),
            _ => None,
        });
        launcher.unwrap_or_else(|_| panic!("children of the keeper: {:?}", children_of(keeper)))
    }

    /// Ends its launcher as a crash does, and returns when another one is there.
    ///
    /// # Panics
    /// When none comes.
    pub fn launcher_kill(&self) {
        let pid = self.launcher_pid();
        let number = Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
        kill_process(number, Signal::KILL).expect("it runs");
        wait_until("another launcher is there", || self.launcher_pid() != pid);
    }

    /// The first process of the sandbox that this program runs in; none while it runs in no sandbox.
    #[must_use]
    pub fn agent_of(&self, program: &str) -> Option<Pid> {
        let is_agent = |pid: u32| status_field(pid, "Name").is_some_and(|name| name.contains("atoll-age"));
        let traces = self.traces();
        let line = traces.processes.iter().find(|line| line.contains(&format!(" {program} (")))?;
        let mut pid: u32 = line.split(' ').next()?.parse().ok()?;
        while !is_agent(pid) {
            pid = status_field(pid, "PPid")?.parse().ok()?;
        }
        Pid::from_raw(i32::try_from(pid).ok()?)
    }

    /// Which of the host's instances it is: what its control groups, interfaces and user ids follow from.
    ///
    /// # Panics
    /// When no note of it is in `/run/atoll`.
    #[must_use]
    pub fn instance(&self) -> u32 {
        let owner = self.data.as_os_str().as_encoded_bytes();
        (0..16)
            .find(|number| fs::read(format!("/run/atoll/{number}.lock")).is_ok_and(|had| had == owner))
            .expect("a running server holds an instance")
    }

    /// What is on the host because of it.
    #[must_use]
    pub fn traces(&self) -> Traces {
        Traces::look(self)
    }

    /// What is on the host because of it when it has been used and has nothing to do.
    ///
    /// # Panics
    /// When it does not come to rest.
    #[must_use]
    pub fn traces_at_rest(&self) -> Traces {
        assert!(self.client.execute_code("bash", "true").success);
        let mut last = Traces::default();
        let mut looks = 0;
        let rest = found(PATIENCE, || {
            let now = self.traces();
            let prepared = now.processes.len() == PREPARED && now.interfaces.len() == PREPARED_WITH_NETWORK;
            looks = if prepared && now == last { looks + 1 } else { 0 };
            last = now;
            (looks >= LOOKS_AT_REST).then_some(())
        });
        assert!(rest.is_ok(), "the server does not come to rest: {last:#?}");
        last
    }

    /// Waits until nothing is on the host beyond what was there before, and stays so.
    ///
    /// # Panics
    /// After ten seconds, with what was left behind.
    pub fn nothing_left(&self, before: &Traces) {
        let mut looks = 0;
        let clean = found(Duration::from_secs(10), || {
            looks = if self.traces().beyond(before).is_empty() { looks + 1 } else { 0 };
            (looks >= LOOKS_AT_REST).then_some(())
        });
        assert!(clean.is_ok(), "left behind: {}", self.traces().beyond(before).join("\n"));
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(log_file(&self.data)).unwrap_or_default()
    }

    /// Asks it to end, as a service manager does, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is our child");
        self.child.wait().expect("it is our child")
    }

    /// Ends it as a crash does: without a chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// The same with other options.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_again_with(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self.start_again();
    }

    /// Starts it anew on the same data directory, after [`Self::stop`] or [`Self::kill`].
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_again(&mut self) {
        let (child, address) = serving(&self.data, &self.options).unwrap_or_else(|why| panic!("{why}"));
        self.child = child;
        self.address = address;
        self.client = Client::new(address);
    }

    /// Makes a key, as the operator does, with these options on top.
    #[must_use]
    pub fn key_create(&self, options: &[&str]) -> Key {
        Key::create(&self.data, options)
    }

    /// Gives it these options from its next start on.
    pub fn options_set(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
    }

    /// Deletes all sandboxes, with a new server if this one has gone.
    fn sandboxes_remove(&mut self) -> Result<(), String> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            let (child, address) = serving(&self.data, &self.options)?;
            (self.child, self.client) = (child, Client::new(address));
        }
        let failed = |error: ureq::Error| error.to_string();
        let mut client = self.client.clone();
        if client.send("GET", "/sandboxes", None).map_err(failed)?.status == 401 {
            client = client.with_key(&self.key_create(&["--admin"]));
        }
        let list = client.send("GET", "/sandboxes", None).map_err(failed)?.json();
        for id in list.as_array().into_iter().flatten().filter_map(|sandbox| sandbox["id"].as_str()) {
            client.send("DELETE", &format!("/sandbox/{id}"), None).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let removed = self.sandboxes_remove();
        if matches!(self.child.try_wait(), Ok(None)) {
            self.stop();
        }
        mounts_remove(&self.data);
        let files = fs::remove_dir_all(&self.data);
        if thread::panicking() {
            eprintln!("what the server logged:\n{}", self.log());
        }
        let _ = fs::remove_file(log_file(&self.data));
        // A test that fails already has said why.
        if !thread::panicking() {
            removed.expect("sandboxes can be deleted at the end of a test");
            files.expect("the data directory can be removed at the end of a test");
        }
    }
}

/// Starts a server and waits until it answers.
fn serving(data: &Path, options: &[String]) -> Result<(Child, SocketAddr), String> {
    let mut last = String::new();
    let sized = options.iter().any(|option| option == "--storage-size");
    for _ in 0..START_ATTEMPTS {
        let address = address_free();
        let log = log_file(data);
        let output = fs::File::options().append(true).create(true).open(&log);
        let output = output.map_err(|error| error.to_string())?;
        let mut child = Command::new(atoll())
            .args(["serve", "--listen", &address.to_string(), "--no-toolchain-install"])
            .args(if sized { [].as_slice() } else { &["--storage-size", "8G"] })
            .arg("--data-dir")
            .arg(data)
            .arg("--toolchains")
            .arg(toolchains())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}; build it with `cargo xtask build`", atoll().display()))?;
        let client = Client::new(address);
        let answered = found(PATIENCE, || match child.try_wait() {
            Ok(None) => {
                let answer = client.send("GET", "/health", None);
                answer.is_ok_and(|answer| answer.status == 200).then_some(true)
            }
            _ => Some(false),
        });
        last = fs::read_to_string(&log).unwrap_or_default();
        match answered {
            Ok(true) => return Ok((child, address)),
            Ok(false) if last.contains("in use") => {}
            Ok(false) => return Err(format!("the server ended at once:\n{last}")),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("the server does not answer:\n{last}"));
            }
        }
    }
    Err(format!("the server does not start:\n{last}"))
}

fn log_file(data: &Path) -> PathBuf {
    data.with_extension("log")
}

fn address_free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Unmounts what a server leaves mounted for the next one.
fn mounts_remove(data: &Path) {
    let below = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
        points.filter(|point| point.starts_with(data)).collect::<Vec<_>>()
    };
    // The launcher has the storage open in a mount namespace of its own until it has ended.
    for point in below().iter().rev() {
        let done = Command::new("umount").arg(point).stderr(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(point).status();
        }
    }
    if !thread::panicking() {
        wait_until("all mounts of the server are gone", || below().is_empty());
    }
}
