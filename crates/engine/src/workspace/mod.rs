//! What is done inside a sandbox that is kept up while somebody sits before it: terminals, commands, files below a
//! folder, processes, changes of files. A sandbox is in use as long as any of it goes on.
//!
//! Nothing of this changes the record, so none of it waits for the sandbox's operations. It must not know dialects.

mod exec;
mod files;
mod processes;
mod terminal;
mod tree;
mod watch;

use std::time::Duration;

use protocol::{
    SandboxId,
    agent::{FailureKind, Request},
};
use serde::de::DeserializeOwned;

pub use exec::{ExecResult, ExecRunSpec};
pub use files::FileWriting;
pub use terminal::{Terminal, TerminalEvent, TerminalReader, TerminalSpec, TerminalWriter};
pub use tree::{TreeLimits, WorkspaceTree};
pub use watch::Watch;

use crate::{
    Caller, Engine, Error, ErrorKind, FileProblem, Result, Sandbox,
    access::Access,
    agent::{self, AgentError, Connection, Incoming},
    program::sandbox_ended,
    sandbox::AGENT_PATIENCE,
};

/// A conversation with the agent of a sandbox that is in use meanwhile.
#[derive(Debug)]
struct Inside {
    connection: Connection,
    sandbox: Sandbox,
    access: Access,
}

impl Engine {
    async fn inside(&self, caller: &Caller, id: SandboxId) -> Result<Inside> {
        let (sandbox, access) = self.access(caller, id).await?;
        Ok(Inside { connection: self.inner.agent_connect(id).await?, sandbox, access })
    }
}

impl Inside {
    async fn send(&mut self, request: &Request) -> Result<()> {
        send(&mut self.connection, request).await
    }

    async fn done(&mut self, request: &Request) -> Result<()> {
        patiently(AGENT_PATIENCE, agent::request_done(&mut self.connection, request)).await
    }

    async fn next(&mut self) -> Result<Incoming> {
        next(&mut self.connection).await
    }
}

async fn send(connection: &mut Connection, request: &Request) -> Result<()> {
    patiently(AGENT_PATIENCE, agent::request_send(connection, request)).await
}

async fn next(connection: &mut Connection) -> Result<Incoming> {
    patiently(AGENT_PATIENCE, connection.next()).await
}

/// Waits for an agent, but not for ever.
async fn patiently<T>(
    patience: Duration,
    asked: impl Future<Output = std::result::Result<T, AgentError>>,
) -> Result<T> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer.map_err(refused),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "The sandbox does not answer")),
    }
}

/// What it means that the agent could not do it.
fn refused(error: AgentError) -> Error {
    let failure = match error {
        AgentError::Failed(failure) => failure,
        error => return sandbox_ended(error),
    };
    let problem = match failure.kind {
        FailureKind::NotFound => FileProblem::NotFound,
        FailureKind::WrongType => FileProblem::WrongType,
        FailureKind::Denied => FileProblem::Denied,
        FailureKind::LimitReached | FailureKind::DiskFull => FileProblem::NoRoom,
        FailureKind::Invalid => FileProblem::Invalid,
        FailureKind::Folder => FileProblem::Folder,
        FailureKind::Outside => FileProblem::Outside,
        FailureKind::TooLarge => FileProblem::TooLarge,
        FailureKind::Refused | FailureKind::Other => return Error::new(ErrorKind::Refused, failure.message),
    };
    Error::file(problem, failure.message)
}

/// The list in an output frame.
fn list_of<T: DeserializeOwned>(frame: &[u8]) -> Result<Vec<T>> {
    protocol::frame::decode_message(frame).map_err(|error| sandbox_ended(error.into()))
}

/// What came does not belong here.
fn unexpected(incoming: Incoming) -> Error {
    match incoming {
        Incoming::Event(protocol::agent::Event::Failed(failure)) => refused(AgentError::Failed(failure)),
        Incoming::Event(event) => sandbox_ended(AgentError::Unexpected(event)),
        Incoming::Output(_) => sandbox_ended(AgentError::unexpected_frame(protocol::frame::Kind::Output)),
        Incoming::ErrorOutput(_) => {
            sandbox_ended(AgentError::unexpected_frame(protocol::frame::Kind::ErrorOutput))
        }
    }
}

/// Whether a path from an agent is what it should be: below the folder, in normal form.
fn is_normal(path: &[u8]) -> bool {
    protocol::entry_name::normalise(path).is_ok_and(|normal| normal == path)
}
