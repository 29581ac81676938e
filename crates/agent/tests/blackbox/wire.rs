//! The other end of the wire: starts an agent, sends it requests, reads its answers, all of it blocking.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use protocol::{
    ExecId, GuestPath,
    agent::{Event, ExecEnd, ExecSpec, ExitStatus, Failure, FailureKind, Request, Stdin},
    frame::{self, HEADER_BYTES, Header, Kind},
};
use rustix::process::{Pid, Signal, kill_process};

/// After this long without an answer a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent with a folder for the test's files.
pub(crate) struct Agent {
    process: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    /// Starts one as the launcher does: on a listening socket under descriptor 3, so that it can be connected
    /// to before it runs.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("agent.sock")).unwrap();
        let process = Command::new("sh")
            .args(["-c", "exec \"$0\" pid1 3<&0 </dev/null", env!("CARGO_BIN_EXE_atoll-agent")])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        Self { process, folder }
    }

    /// Starts one as an operator does in a container: for HTTP, on a port of the kernel's choice. Returns where.
    pub(crate) fn listen(words: &[&str], variables: &[(&str, &str)]) -> (Self, String) {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_atoll-agent"))
            .args(["--listen", "127.0.0.1:0"])
            .args(words)
            .envs(variables.iter().copied())
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").expect(&line).1.to_owned();
        (Self { process, folder }, address)
    }

    /// Starts one that serves the executor by `command`, on ports of the kernel's choice. Returns those.
    pub(crate) fn executor(command: &[&str], variables: &[(&str, &str)]) -> (Self, [u16; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(command[0])
            .args(&command[1..])
            .envs([("SANDBOX_SECRET", "s3cret"), ("PORT", "0"), ("PROXY_PORT", "0")])
            .envs(variables.iter().copied())
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Vec<u16> = line
            .split(|character: char| !character.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        (Self { process, folder }, ports.try_into().expect(&line))
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::new(&self.folder.path().join("agent.sock"))
    }

    /// A path in the test's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same, as the agent is told of it.
    pub(crate) fn guest_path(&self, name: &str) -> GuestPath {
        GuestPath::absolute(self.path(name).to_str().unwrap()).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its resident set.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Its children, zombies among them.
    pub(crate) fn children(&self) -> Vec<String> {
        let pid = self.pid();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What tests leave running; the agent is the parent of whatever lost its own.
        while let [_, ..] = self.children()[..] {
            descendants_kill(&self.pid().to_string());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn descendants_kill(pid: &str) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        descendants_kill(child);
        if let Some(pid) = child.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// One connection to it.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
}

/// What an exec gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) end: ExecEnd,
}

impl Outcome {
    pub(crate) fn stdout_text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

impl Connection {
    pub(crate) fn new(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.stream.write_all(&frame::encode_message(request).unwrap()).unwrap();
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.stream.write_all(&frame::encode(Kind::Input, bytes).unwrap()).unwrap();
    }

    pub(crate) fn input_end(&mut self) {
        self.stream.write_all(&frame::encode(Kind::InputEnd, &[]).unwrap()).unwrap();
    }

    /// Closes the connection now. Dropping it does so later, where another test's thread has just forked.
    pub(crate) fn close(self) {
        self.stream.shutdown(Shutdown::Both).unwrap();
    }

    /// The next frame; `None` when the agent has closed the connection.
    pub(crate) fn frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).ok()?;
        let header = Header::decode(header).unwrap();
        let mut payload = vec![0; header.payload_bytes];
        self.stream.read_exact(&mut payload).ok()?;
        Some((header.kind, payload))
    }

    /// The next frame, which must be an event.
    pub(crate) fn event(&mut self) -> Event {
        let (kind, payload) = self.frame().expect("the agent closed the connection");
        assert_eq!(kind, Kind::Message);
        frame::decode_message(&payload).unwrap()
    }

    /// Sends a request that is answered by one event.
    pub(crate) fn ask(&mut self, request: &Request) -> Event {
        self.send(request);
        self.event()
    }

    /// Sends a request that must fail.
    pub(crate) fn ask_failing(&mut self, request: &Request) -> Failure {
        match self.ask(request) {
            Event::Failed(failure) => failure,
            other => panic!("{request:?} was answered by {other:?}"),
        }
    }

    /// Waits for the start of an exec and returns its process id.
    pub(crate) fn started(&mut self) -> i32 {
        match self.event() {
            Event::ExecStarted { pid } => pid,
            other => panic!("expected a start, got {other:?}"),
        }
    }

    /// Reads a started exec's output up to its end.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let (kind, payload) = self.frame().expect("the agent closed the connection");
            match kind {
                Kind::Output => stdout.extend(payload),
                Kind::ErrorOutput => stderr.extend(payload),
                Kind::Message => match frame::decode_message(&payload).unwrap() {
                    Event::ExecEnded(end) => return Outcome { stdout, stderr, end },
                    other => panic!("expected an end, got {other:?}"),
                },
                kind => panic!("unexpected frame {kind:?}"),
            }
        }
    }

    /// Reads standard output until it contains `text`.
    pub(crate) fn output_until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            let (kind, payload) = self.frame().expect("the agent closed the connection");
            assert_eq!(kind, Kind::Output, "after {read:?}");
            read.push_str(std::str::from_utf8(&payload).unwrap());
        }
        read
    }

    /// Starts an exec and follows it to its end.
    pub(crate) fn exec(&mut self, spec: &ExecSpec) -> Outcome {
        self.send(&Request::ExecStart(spec.clone()));
        self.started();
        self.outcome()
    }

    /// Runs a shell script to its end.
    pub(crate) fn shell(&mut self, script: &str) -> Outcome {
        self.exec(&shell(script))
    }

    /// Writes a file and returns the answer.
    pub(crate) fn file_write(&mut self, path: GuestPath, mode: u32, content: &[u8]) -> Event {
        self.send(&Request::FileWrite { path, mode });
        for piece in content.chunks(frame::STREAM_BYTES) {
            self.input(piece);
        }
        self.input_end();
        self.event()
    }

    /// Reads a file: its size, mode and the bytes asked for.
    pub(crate) fn file_read(
        &mut self,
        path: GuestPath,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(u64, u32, Vec<u8>), Failure> {
        let (size_bytes, mode) = match self.ask(&Request::FileRead { path, offset, length }) {
            Event::FileOpened { size_bytes, mode } => (size_bytes, mode),
            Event::Failed(failure) => return Err(failure),
            other => panic!("{other:?}"),
        };
        let mut content = Vec::new();
        loop {
            match self.frame().expect("the agent closed the connection") {
                (Kind::Output, payload) => content.extend(payload),
                (Kind::Message, payload) => match frame::decode_message(&payload).unwrap() {
                    Event::Done => return Ok((size_bytes, mode, content)),
                    Event::Failed(failure) => return Err(failure),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A program to run as the test's own user in `/`, with the test's `PATH`.
pub(crate) fn program(argv: &[&str]) -> ExecSpec {
    ExecSpec {
        id: ExecId::random(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        cwd: GuestPath::root(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        stdin: Stdin::Null,
        timeout_ms: None,
        output_bytes_max: None,
        retain_bytes: 0,
        terminal: None,
    }
}

/// A shell script to run.
pub(crate) fn shell(script: &str) -> ExecSpec {
    program(&["sh", "-c", script])
}

/// What a program that is fine ends with.
pub(crate) const SUCCESS: ExitStatus = ExitStatus::Exited(0);

/// Asks again and again until it is so. For what has no event to wait for.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process exists and is not a zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}

/// Asserts a failure's kind and that its text names what failed.
pub(crate) fn assert_failure(failure: &Failure, kind: FailureKind, text: &str) {
    assert!(
        failure.kind == kind && failure.message.contains(text),
        "{failure:?} is not {kind:?} with {text:?}"
    );
}
