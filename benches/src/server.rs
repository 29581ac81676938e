//! A server of the benchmark's own: in a folder of its own, on a free port, gone without a trace afterwards.

use std::{
    fs::{self, File, Permissions},
    io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

use crate::{
    failure::{During, Failure, Outcome},
    http::{self, Connection},
};

/// How long the server may take to answer for the first time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long it may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// How often it is looked at meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A running server. Dropping it ends it and removes its data.
pub(crate) struct Server {
    command: Command,
    child: Child,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

/// The image that [`Server::image_import`] makes.
const IMAGE: &str = "bench";

impl Server {
    /// Starts `binary serve` and waits until it answers. `log` is what it writes to its log, as in its
    /// `ATOLL_LOG` variable.
    pub(crate) fn start(binary: &Path, toolchains: &Path, log: &str) -> Outcome<Self> {
        let address = address_free().during("find a free port")?;
        let folder = tempfile::Builder::new()
            .prefix("atoll-bench-")
            // The server, once it has given up root, has to reach its data below.
            .permissions(Permissions::from_mode(0o711))
            // Short: a socket's path has at most 108 bytes (unix(7)).
            .tempdir_in("/var/tmp")
            .during("make a folder for the server's data")?;
        let log_file = File::create(folder.path().join("log")).during("make the server's log file")?;
        let mut command = Command::new(binary);
        command
            .args(["serve", "--no-toolchain-install", "--storage-size", "8G"])
            .args(["--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .env("ATOLL_LOG", log)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file);
        if toolchains.exists() {
            command.arg("--toolchains").arg(toolchains);
        }
        let child = command.spawn().during(&format!("start {}", binary.display()))?;
        let mut server = Self { command, child, folder, address };
        server.answer_await()?;
        Ok(server)
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> Outcome<String> {
        fs::read_to_string(self.folder.path().join("log")).during("read the server's log")
    }

    /// Where its layers are.
    pub(crate) fn storage(&self) -> PathBuf {
        self.folder.path().join("data/storage")
    }

    /// Waits until the kernel has freed the layers and snapshots that were removed: it takes the processor's time, and
    /// the disk's, from what comes next.
    pub(crate) fn storage_settle(&self) -> Outcome<()> {
        let synced = Command::new("btrfs").args(["subvolume", "sync"]).arg(self.storage()).output();
        let synced = synced.during("run btrfs")?;
        if synced.status.success() {
            return Ok(());
        }
        Err(Failure::new("wait for removed snapshots", String::from_utf8_lossy(&synced.stderr)))
    }

    /// Makes an administrator's key, and returns it.
    pub(crate) fn key_create(&self) -> Outcome<String> {
        let output = Command::new(self.command.get_program())
            .args(["keys", "create", "--admin", "--data-dir"])
            .arg(self.folder.path().join("data"))
            .output()
            .during("make a key")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let key = said.split_whitespace().find(|word| word.starts_with("ws_")).map(str::to_owned);
        key.ok_or_else(|| Failure::new("make a key", String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Makes an image of one program of this machine and what it needs, and returns how it is called.
    pub(crate) fn image_import(&self, program: &str) -> Outcome<&'static str> {
        let needs = Command::new("ldd").arg(program).output().during("run ldd")?;
        let needs = String::from_utf8_lossy(&needs.stdout).into_owned();
        let libraries = needs.split_whitespace().filter(|word| word.starts_with('/'));
        let archive = self.folder.path().join("image.tar");
        let packed = Command::new("tar")
            .args(["--create", "--dereference", "--file"])
            .arg(&archive)
            .arg(program)
            .args(libraries)
            .output()
            .during("run tar")?;
        if !packed.status.success() {
            return Err(Failure::new("pack an image", String::from_utf8_lossy(&packed.stderr)));
        }
        let imported = Command::new(self.command.get_program())
            .args(["image", "import", "--name", IMAGE, "--data-dir"])
            .arg(self.folder.path().join("data"))
            .arg(&archive)
            .output()
            .during("import an image")?;
        if imported.status.success() {
            return Ok(IMAGE);
        }
        Err(Failure::new("import an image", String::from_utf8_lossy(&imported.stderr)))
    }

    /// Kills it, starts another one, and returns the time from that start to its first answer.
    pub(crate) fn kill_and_start_again(&mut self) -> Outcome<Duration> {
        self.child.kill().during("kill the server")?;
        self.child.wait().during("kill the server")?;
        // What is left of it ends by itself, and is not what is measured.
        thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        self.child = self.command.spawn().during("start the server again")?;
        self.answer_await()?;
        Ok(start.elapsed())
    }

    /// The socket of a sandbox's agent.
    pub(crate) fn agent_socket(&self, sandbox: &str) -> PathBuf {
        self.folder.path().join("data/run").join(sandbox).join("agent.sock")
    }

    pub(crate) fn connect(&self) -> Outcome<Connection> {
        Connection::open(self.address).during("connect to the server")
    }

    fn answer_await(&mut self) -> Outcome<()> {
        let start = Instant::now();
        let health = http::request("GET", "/health", "");
        loop {
            match Connection::open(self.address).and_then(|mut connection| connection.ask(&health)) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                _ => {}
            }
            let ended = self.child.try_wait().during("look at the server")?;
            if ended.is_some() || start.elapsed() > START_LIMIT {
                let log = self.log()?;
                return Err(Failure::new("wait for the server to answer", format!("its log says:\n{log}")));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn end(&mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > END_LIMIT {
                self.child.kill()?;
                self.child.wait()?;
            }
            thread::sleep(POLL_INTERVAL);
        }
        // The launcher ends by itself after the server, and until then holds the storage.
        for mounted in ["data/storage", "data/run"] {
            let mounted = self.folder.path().join(mounted);
            loop {
                match unmount(&mounted, UnmountFlags::empty()) {
                    // Not mounted: the data directory itself is on btrfs.
                    Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => break,
                    Err(rustix::io::Errno::BUSY) if start.elapsed() < END_LIMIT => {
                        thread::sleep(POLL_INTERVAL)
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!(
                "the server of the benchmark was not cleaned up ({}): {error}",
                self.folder.path().display()
            );
        }
    }
}

fn address_free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
