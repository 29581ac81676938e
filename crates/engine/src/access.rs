//! Streams into a sandbox: to its agent's own HTTP, or to a port that something listens on inside. No IP network
//! is needed for it. A sandbox is in use as long as there is one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use protocol::{SandboxId, agent::FailureKind, agent::HttpDialect, agent::Request};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::mpsc,
    time::timeout,
};

use crate::{
    Caller, Engine, Error, ErrorKind, Result, Sandbox,
    agent::{AgentError, request_done},
    program::sandbox_ended,
    sandbox::Command,
};

/// What a stream leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The HTTP/1.1 that the agent speaks itself, in one of its dialects. It asks for no token there.
    Agent(HttpDialect),
    /// A TCP port on the sandbox's loopback.
    Port(u16),
    /// The TCP port that a client of the executor has bound.
    BoundPort,
}

/// How long an agent may take to connect.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of a connection inside.
#[derive(Debug)]
pub struct AgentStream {
    /// What came with the answer that it is open.
    early: BytesMut,
    socket: UnixStream,
    _access: Access,
}

/// A sandbox that is in use as long as this lives.
#[derive(Debug)]
pub struct InUse {
    _access: Access,
}

/// That somebody uses a sandbox, as long as this lives.
#[derive(Debug)]
pub(crate) struct Access(mpsc::UnboundedSender<Command>);

impl Drop for Access {
    fn drop(&mut self) {
        let _ = self.0.send(Command::AccessEnd);
    }
}

impl Engine {
    /// A stream to something inside a sandbox that is kept up. One that was paused because nobody used it is resumed
    /// first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when it does not run, or is paused; [`ErrorKind::Refused`]
    /// when nothing listens on the port; [`ErrorKind::SandboxEnded`], [`ErrorKind::TimedOut`].
    pub async fn sandbox_dial(&self, caller: &Caller, id: SandboxId, target: Target) -> Result<AgentStream> {
        let (sandbox, access) = self.access(caller, id).await?;
        let mut connection = self.inner.agent_connect(id).await?;
        let request = match target {
            Target::Agent(dialect) => self.http_request(&sandbox, dialect).await?,
            Target::Port(port) => Request::PortDial { port },
            Target::BoundPort => Request::BoundPortDial,
        };
        match timeout(DIAL_PATIENCE, request_done(&mut connection, &request)).await {
            Ok(Ok(())) => {
                let (socket, early) = connection.into_parts();
                Ok(AgentStream { early, socket, _access: access })
            }
            Ok(Err(AgentError::Failed(failure))) => Err(match failure.kind {
                FailureKind::Refused => Error::new(ErrorKind::Refused, failure.message),
                _ => Error::new(ErrorKind::Unavailable, failure.message),
            }),
            Ok(Err(error)) => Err(sandbox_ended(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
        }
    }
}

impl Engine {
    /// Uses a sandbox that is kept up until the answer is dropped, so that it is not paused meanwhile. One that was paused
    /// because nobody used it is resumed first.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when it does not run, or was paused on request.
    pub async fn sandbox_use(&self, caller: &Caller, id: SandboxId) -> Result<InUse> {
        let (_, access) = self.access(caller, id).await?;
        Ok(InUse { _access: access })
    }

    /// Counts as use of a sandbox: it is paused and ended later by it. One that is paused stays so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn sandbox_touch(&self, caller: &Caller, id: SandboxId) -> Result<Sandbox> {
        let handle = self.handle(caller, id)?;
        handle.ask(id, |reply| Command::Touch { reply }).await?;
        let sandbox = handle.view.borrow().clone();
        Ok(sandbox)
    }

    /// Begins to use a sandbox that is kept up. One that was paused because nobody used it is resumed first.
    pub(crate) async fn access(&self, caller: &Caller, id: SandboxId) -> Result<(Sandbox, Access)> {
        let handle = self.handle(caller, id)?;
        let access = Access(handle.commands.clone());
        handle.ask(id, |reply| Command::Access { reply }).await??;
        let sandbox = handle.view.borrow().clone();
        Ok((sandbox, access))
    }

    /// What the agent has to know that serves HTTP.
    async fn http_request(&self, sandbox: &Sandbox, dialect: HttpDialect) -> Result<Request> {
        let base = self.inner.image_base(&sandbox.image).await?;
        let env = base.environment(&sandbox.env);
        Ok(Request::Http {
            dialect,
            limits: sandbox.limits,
            env,
            cwd: base.cwd.clone(),
            user: base.user.clone(),
        })
    }
}

impl AsyncRead for AgentStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, into);
        }
        let taken = self.early.len().min(into.remaining());
        into.put_slice(&self.early[..taken]);
        self.early.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AgentStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    /// Who writes pieces need not copy them together.
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
