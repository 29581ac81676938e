//! Terminals: what is typed goes in, what programs show comes out, and they go on while nobody looks.
//!
//! Nobody who reads: the socket to the agent fills up (the kernel's 208 KiB), then the agent's backlog (256 KiB), then
//! the agent stops to read the terminal and its program blocks. Here a reader holds one piece of 64 KiB and what is
//! behind it in its buffer, as much again. Nobody at all: the agent reads on and keeps the latest.

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use protocol::{
    ExecId, GuestPath, SandboxId,
    agent::{ExecSpec, ExitStatus, Request, TerminalSize},
    frame::{self, Kind, STREAM_BYTES},
};
use tokio::net::UnixStream;

use super::{Inside, exec::Start, patiently, refused};
use crate::{
    Caller, Engine, FileProblem, Result,
    access::Access,
    agent::{self, AgentError, ExecEvent, Receiving, Sending},
    engine::Inner,
    program::sandbox_ended,
    sandbox::AGENT_PATIENCE,
};

/// A program to start in a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalSpec {
    /// Program and arguments. A program without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Goes before the sandbox's own environment. `TERM` is `xterm-256color` where neither says it.
    pub env: Vec<(String, String)>,
    /// Where it starts; where the sandbox's programs do if it is not said.
    pub cwd: Option<GuestPath>,
    /// Whose it is, by name or number of the sandbox; whose the sandbox's programs are if it is not said.
    pub user: Option<String>,
    /// How many characters it shows.
    pub size: TerminalSize,
    /// How much of the latest output is kept for who attaches later, of the sandbox's memory and at most a 32nd of it;
    /// its end too then. With 0 an end that was told is forgotten, and nothing comes again.
    pub retain_bytes: u64,
}

/// Somebody before a terminal. Dropped, its program goes on without anybody.
#[derive(Debug)]
pub struct Terminal {
    reader: TerminalReader,
    writer: TerminalWriter,
}

/// What comes out of a terminal.
#[derive(Debug)]
pub struct TerminalReader {
    socket: Arc<UnixStream>,
    received: BytesMut,
    _access: Arc<Access>,
}

/// What goes into a terminal.
pub struct TerminalWriter {
    socket: Arc<UnixStream>,
    engine: Arc<Inner>,
    sandbox: SandboxId,
    exec: ExecId,
    _access: Arc<Access>,
}

/// What comes next out of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalEvent {
    /// What its programs show.
    Output(Bytes),
    /// The program that was started in it has ended, and all it wrote was told. The last event.
    Ended(ExitStatus),
    /// Somebody else sits before it now, or the sandbox has ended. The last event.
    Detached,
}

/// What programs are told that the terminal is.
const TERM: &str = "xterm-256color";

impl Engine {
    /// Starts a program in a terminal of a sandbox that is kept up.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`].
    pub async fn terminal_open(
        &self,
        caller: &Caller,
        id: SandboxId,
        spec: TerminalSpec,
    ) -> Result<Terminal> {
        let mut inside = self.inside(caller, id).await?;
        let TerminalSpec { argv, env, cwd, user, size, retain_bytes } = spec;
        let exec = ExecId::random();
        let start = Start { id: exec, argv, env, cwd, user };
        let mut spec = ExecSpec {
            terminal: Some(size),
            retain_bytes: agent::retain_bytes(retain_bytes, &inside.sandbox.limits),
            ..self.exec_spec(&mut inside, start).await?
        };
        if !spec.env.iter().any(|(name, _)| name == "TERM") {
            spec.env.push(("TERM".to_owned(), TERM.to_owned()));
        }
        patiently(AGENT_PATIENCE, agent::exec_start(&mut inside.connection, spec)).await?;
        patiently(AGENT_PATIENCE, agent::exec_started(&mut inside.connection)).await?;
        Ok(self.terminal(id, exec, inside))
    }

    /// Sits down before a terminal that was opened earlier, in the place of whoever did so before: what is retained
    /// comes first, then what comes. One that has ended since tells its end.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`]; with [`crate::FileProblem::NotFound`] when there is no such terminal (any more).
    pub async fn terminal_attach(&self, caller: &Caller, id: SandboxId, exec: ExecId) -> Result<Terminal> {
        let mut inside = self.inside(caller, id).await?;
        patiently(AGENT_PATIENCE, agent::exec_attach(&mut inside.connection, exec)).await?;
        Ok(self.terminal(id, exec, inside))
    }

    fn terminal(&self, sandbox: SandboxId, exec: ExecId, inside: Inside) -> Terminal {
        let (socket, received) = inside.connection.into_parts();
        let (socket, access) = (Arc::new(socket), Arc::new(inside.access));
        let reader = TerminalReader { socket: Arc::clone(&socket), received, _access: Arc::clone(&access) };
        let engine = Arc::clone(&self.inner);
        Terminal { reader, writer: TerminalWriter { socket, engine, sandbox, exec, _access: access } }
    }
}

impl Terminal {
    /// What names it in its sandbox.
    #[must_use]
    pub fn exec(&self) -> ExecId {
        self.writer.exec
    }

    /// Both directions, to be used at the same time. It is left when both are dropped.
    #[must_use]
    pub fn split(self) -> (TerminalReader, TerminalWriter) {
        (self.reader, self.writer)
    }
}

impl TerminalReader {
    /// Waits for what comes next. Nothing is lost if that is given up; while nobody waits, the program is slowed.
    ///
    /// # Errors
    /// When the agent does not keep to the protocol.
    pub async fn next(&mut self) -> Result<TerminalEvent> {
        match agent::exec_next(&mut Receiving::new(&self.socket, &mut self.received)).await {
            Ok(ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes)) => Ok(TerminalEvent::Output(bytes)),
            Ok(ExecEvent::Ended(end)) => Ok(TerminalEvent::Ended(end.status)),
            Err(AgentError::Gone(_)) => Ok(TerminalEvent::Detached),
            Err(error) => Err(refused(error)),
        }
    }
}

impl fmt::Debug for TerminalWriter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TerminalWriter").field("exec", &self.exec).finish_non_exhaustive()
    }
}

impl TerminalWriter {
    /// What names the terminal in its sandbox.
    #[must_use]
    pub fn exec(&self) -> ExecId {
        self.exec
    }

    /// Types bytes, at the speed at which they are read: the future is ready when all of them are on their way. What is
    /// typed to a program that does not read waits in the kernel, some 300 KiB of it. Given up halfway, it leaves the
    /// terminal unusable: drop it then, and attach again.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SandboxEnded`], also when somebody else sits before it now.
    pub async fn input(&mut self, bytes: &[u8]) -> Result<()> {
        let mut sending = Sending::new(&self.socket);
        for piece in bytes.chunks(STREAM_BYTES) {
            let frame = frame::encode(Kind::Input, piece).map_err(|error| sandbox_ended(error.into()))?;
            sending.send(&frame).await.map_err(sandbox_ended)?;
        }
        Ok(())
    }

    /// Gives the terminal another size and tells its program. It has it when this returns.
    ///
    /// # Errors
    /// With [`crate::FileProblem::NotFound`] when its program has ended; [`crate::ErrorKind::SandboxEnded`].
    pub async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.ask(Request::ExecResize { exec: self.exec, size }).await
    }

    /// Hangs the terminal up: its whole tree gets SIGHUP, and what is left of it after some seconds SIGKILL. Its end
    /// comes as usual. One that has ended is closed already.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SandboxEnded`], [`crate::ErrorKind::TimedOut`].
    pub async fn close(&self) -> Result<()> {
        match self.ask(Request::ExecHangUp { exec: self.exec }).await {
            Err(error) if error.file_problem() == Some(FileProblem::NotFound) => Ok(()),
            asked => asked,
        }
    }

    /// Asks on a connection of its own: on the terminal's, what is typed goes before.
    async fn ask(&self, request: Request) -> Result<()> {
        let mut connection = self.engine.agent_connect(self.sandbox).await?;
        patiently(AGENT_PATIENCE, agent::request_done(&mut connection, &request)).await
    }
}
