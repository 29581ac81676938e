//! What the server asks of a sandbox's agent, and what the agent answers.
//!
//! One connection carries requests one after the other; a client may send the next before the last is
//! answered (the agent reads it then). Each request is answered by events, the last of which is marked
//! *final* below. Closing the connection ends a file operation, but only detaches from an exec.
//!
//! The server trusts nothing in an [`Event`]: a sandbox's program may have taken over its agent.

use serde::{Deserialize, Serialize};

use crate::{ExecId, GuestPath, limits::Limits};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answered by [`Event::Pong`] (final).
    Ping,
    /// Starts a process. [`Event::ExecStarted`], output frames, then [`Event::ExecEnded`] (final); or
    /// [`Event::Failed`] (final). With [`Stdin::Piped`], input frames may follow the request until
    /// [`crate::frame::Kind::InputEnd`].
    ExecStart(ExecSpec),
    /// Follows an exec that runs or has ended but was not collected: [`Event::ExecStarted`] again, what is
    /// retained of what was passed on before, what its backlog still holds, then as [`Request::ExecStart`]. Only
    /// one connection follows an exec at a time; the newest wins, and the one before is closed.
    ExecAttach {
        /// Which exec.
        exec: ExecId,
    },
    /// Signals an exec's whole process tree. [`Event::Done`] or [`Event::Failed`] (final).
    ExecSignal {
        /// Which exec.
        exec: ExecId,
        /// The signal's number, as in signal(7).
        signal: i32,
    },
    /// Writes a regular file, its folders made as needed. The content follows as input frames until
    /// [`crate::frame::Kind::InputEnd`]; then [`Event::Done`] or [`Event::Failed`] (final).
    /// The content appears under its path whole or not at all.
    FileWrite {
        /// Where.
        path: GuestPath,
        /// Permission bits, `0o644` say.
        mode: u32,
    },
    /// Reads a regular file: [`Event::FileOpened`], output frames, then [`Event::Done`] or
    /// [`Event::Failed`] (final).
    FileRead {
        /// Which file.
        path: GuestPath,
        /// First byte wanted.
        offset: u64,
        /// At most this many bytes; `None` reads to the end.
        length: Option<u64>,
    },
    /// Makes a folder and those above it. [`Event::Done`] or [`Event::Failed`] (final).
    FolderCreate {
        /// Which folder.
        path: GuestPath,
        /// Permission bits of the folders that are made.
        mode: u32,
    },
    /// Reads everything below a folder, on its own file system, as an uncompressed tar stream (POSIX pax):
    /// output frames, then [`Event::Done`] or [`Event::Failed`] (final). After a failure the stream is not a
    /// whole archive: its end marker is missing.
    ///
    /// Names are relative. Files, folders, symbolic and hard links and pipes are in it with modes, numeric
    /// owners, times, and the extended attributes that programs set. A file with holes
    /// of a MiB or more is in GNU's sparse format 1.0, its data alone; smaller holes are zeros. Sockets, devices,
    /// whatever is mounted below and what a [`Request::TreeWrite`] has not finished are left out. What changes
    /// meanwhile is as long as it was when it was opened; what vanishes is left out.
    TreeRead {
        /// Which folder.
        path: GuestPath,
    },
    /// Unpacks a tree into a folder, made as needed. An uncompressed tar stream (ustar, pax, GNU; of the
    /// formats for sparse files 1.0) follows as input frames until [`crate::frame::Kind::InputEnd`]; then [`Event::Done`] or [`Event::Failed`]
    /// (final), the latter perhaps before the end of the input, which is skipped then.
    ///
    /// An archive is refused as a whole, and nothing has changed then, when it is incomplete or damaged, has
    /// an absolute name or one with `..`, a device, a kind of entry that is not known, a hard link to
    /// anything but an earlier file of its own, a symbolic link that leads out (to any path but below `path`
    /// or in a system folder such as `/usr`), a folder where something else is or the other way round, a name
    /// below a symbolic link, more than a million entries, or more than `bytes_max`. Owners that a sandbox
    /// doesn't have become nobody (65534). Of two entries of one name the later counts.
    TreeWrite {
        /// Which folder. What the archive says of the folder itself is left.
        path: GuestPath,
        /// What it may take at most: content without blocks of zeros, and 512 bytes beside names and
        /// attributes for each entry.
        bytes_max: Option<u64>,
        /// Whether all that is in the folder goes, once the whole archive was good. Otherwise the trees
        /// become one, and the archive's files take the place of those of their names. Until the last byte
        /// has come, the folder has both, so the disk needs room for both.
        clear: bool,
    },
    /// Connects to a TCP port on the sandbox's own loopback. [`Event::Done`] (final), after which the
    /// connection is that TCP stream's bytes and no frames, or [`Event::Failed`] (final).
    PortDial {
        /// The port.
        port: u16,
    },
    /// Speaks HTTP: [`Event::Done`] (final), after which the connection carries HTTP/1.1 and no frames. The agent
    /// asks for no token there: the server has found out who asks.
    Http {
        /// Which API is spoken.
        dialect: HttpDialect,
        /// What the sandbox may use, which no file inside says: told to whoever asks for its metrics.
        limits: Limits,
        /// The environment that programs get which are started over HTTP; what the request says goes before it.
        env: Vec<(String, String)>,
        /// Where they start, and what relative paths are relative to.
        cwd: GuestPath,
        /// Whose they and new files are unless the request says: user, and group after a colon, by name or number. The
        /// agent's own if there is none.
        user: Option<String>,
    },
    /// Gives an exec's terminal another size and tells the program (SIGWINCH). [`Event::Done`] or
    /// [`Event::Failed`] (final).
    ExecResize {
        /// Which exec.
        exec: ExecId,
        /// The new size.
        size: TerminalSize,
    },
    /// As [`Request::PortDial`], for the port that a client of the executor has bound.
    BoundPortDial,
    /// Asks an exec's whole process tree to end, one with a terminal as if that was hung up, and kills what is left of
    /// it after a while. [`Event::Done`] when it was asked, or [`Event::Failed`] (final).
    ExecHangUp {
        /// Which exec.
        exec: ExecId,
    },
    /// Lists everything below a folder, folders before what is in them: output frames with lists of
    /// [`crate::workspace::TreeEntry`], then [`Event::Listed`] or [`Event::Failed`] (final). No link is followed.
    WorkspaceTree {
        /// Which folder.
        root: GuestPath,
        /// At most so many entries.
        entries_max: u64,
        /// Which have at most so many bytes of paths together.
        bytes_max: u64,
    },
    /// Reads a regular file below a folder, as [`Request::FileRead`] does. Links are followed that stay below it.
    WorkspaceRead {
        /// Which folder.
        root: GuestPath,
        /// The file, relative to it.
        path: Vec<u8>,
        /// A larger one is [`FailureKind::TooLarge`].
        bytes_max: u64,
    },
    /// Writes a regular file below a folder, as [`Request::FileWrite`] does; one that exists keeps its mode. Links are
    /// followed that stay below it.
    WorkspaceWrite {
        /// Which folder.
        root: GuestPath,
        /// The file, relative to it.
        path: Vec<u8>,
    },
    /// Removes what is below a folder: a file, a link, or a folder with all that it has. [`Event::Done`] or
    /// [`Event::Failed`] (final).
    WorkspaceRemove {
        /// Which folder.
        root: GuestPath,
        /// What, relative to it.
        path: Vec<u8>,
    },
    /// Lists the sandbox's processes but the agent: output frames with lists of [`crate::workspace::ProcessInfo`], then
    /// [`Event::Done`] (final).
    ProcessList,
    /// Watches everything below a folder: [`Event::Done`] once it does, then an output frame with a list of
    /// [`crate::workspace::Change`] whenever something changed, until the connection is closed; or [`Event::Failed`]
    /// (final).
    Watch {
        /// Which folder.
        root: GuestPath,
    },
}

/// The APIs that an agent serves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpDialect {
    /// OpenSandbox's execd.
    Execd,
    /// The sandbox executor.
    Executor,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Chosen by the server, so that it can be named before the answer.
    pub id: ExecId,
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Where it starts. Must exist.
    pub cwd: GuestPath,
    /// The user and group it runs as, inside the sandbox. `0, 0` is the sandbox's root.
    pub uid: u32,
    /// See `uid`.
    pub gid: u32,
    /// Standard input.
    pub stdin: Stdin,
    /// After this time the whole tree is killed and [`ExecEnd::timed_out`] is set.
    pub timeout_ms: Option<u64>,
    /// Bytes of each of the two output streams that are passed on. What is over is read and dropped, and
    /// counted in [`ExecEnd`]. `None` passes everything on, at the speed of whoever reads.
    pub output_bytes_max: Option<u64>,
    /// Bytes of each of the two output streams, the latest ones, that the agent retains for another follower after
    /// it has passed them on, and the end with them. They count as the sandbox's memory. 0 retains nothing: whoever
    /// was sent the end has collected the exec, and it is forgotten.
    pub retain_bytes: u64,
    /// A terminal of this size instead of pipes: the process leads its session, input frames are what is typed, and
    /// what comes out is standard output, all of it. `stdin` says nothing then.
    pub terminal: Option<TerminalSize>,
}

/// How many characters a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub cols: u16,
}

/// Where a process reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// Input frames.
    Piped,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The agent lives.
    Pong,
    /// The request is done.
    Done,
    /// The process runs.
    ExecStarted {
        /// Its process id inside the sandbox.
        pid: i32,
    },
    /// The process and its output have ended.
    ExecEnded(ExecEnd),
    /// The file is open.
    FileOpened {
        /// Its whole size in bytes.
        size_bytes: u64,
        /// Permission bits.
        mode: u32,
    },
    /// The request failed; the connection can be used for the next one.
    Failed(Failure),
    /// A list is over.
    Listed {
        /// Whether it has all there is.
        is_whole: bool,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEnd {
    /// Exit status or signal.
    pub status: ExitStatus,
    /// It was killed at its time limit.
    pub timed_out: bool,
    /// Bytes of standard output that were dropped: at `output_bytes_max`, or from a full backlog while
    /// nobody followed; for a follower that is not the first, also what was not retained.
    pub stdout_dropped_bytes: u64,
    /// The same of standard error.
    pub stderr_dropped_bytes: u64,
    /// Wall time from start to end.
    pub wall_us: u64,
    /// CPU time of the process and the children it waited for.
    pub cpu_us: u64,
    /// Largest resident set of the process.
    pub rss_bytes_max: u64,
}

/// How a process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It called `exit` with this status, 0 to 255.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl ExitStatus {
    /// As a shell reports it in `$?`: the status, or 128 and the signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Signaled(signal) => signal.saturating_add(128),
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure it is, for the caller to act on.
    pub kind: FailureKind,
    /// What failed and on what: `open /sandbox/x: No such file or directory`.
    pub message: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The file, folder, program or exec does not exist.
    NotFound,
    /// A file where a folder is needed, a folder where a file is needed, or not a regular file.
    WrongType,
    /// The sandbox's user may not do that.
    Denied,
    /// The disk quota or the process limit is reached.
    LimitReached,
    /// The request makes no sense: an empty argv, an exec id in use.
    Invalid,
    /// Nothing listens on that port.
    Refused,
    /// Anything else.
    Other,
    /// The disk has no room, whatever the quota.
    DiskFull,
    /// A folder where a file is needed.
    Folder,
    /// A name that leads out of its folder: absolute, by `..`, or by a link.
    Outside,
    /// Larger than what was asked for.
    TooLarge,
}
