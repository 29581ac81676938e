//! Something to run in a sandbox, planned: a program or a command.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    CommandSpec, Mode, Program, ProgramPlan,
    plan::{Command, program_plan},
};
use crate::{Result, log::LogStream};

/// A piece of output, as it is written.
pub type OutputPiece = (LogStream, Bytes);

/// What a run needs to know of what it runs.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plan: ProgramPlan,
    pub(crate) mode: Mode,
    pub(crate) dev_server: bool,
    pub(crate) timeout: Duration,
    /// Where output goes as it is written, instead of into the result.
    pub(crate) stream: Option<mpsc::Sender<OutputPiece>>,
}

impl Job {
    /// The job that a program is.
    pub(crate) fn program(program: &Program) -> Result<Self> {
        Ok(Self {
            plan: program_plan(program)?,
            mode: program.mode,
            dev_server: program.dev_server,
            timeout: program.timeout,
            stream: None,
        })
    }

    /// The job that a command is.
    pub(crate) fn command(command: CommandSpec, stream: mpsc::Sender<OutputPiece>) -> Self {
        let main = Command { argv: command.argv, env: Vec::new() };
        Self {
            plan: ProgramPlan { files: Vec::new(), setup: Vec::new(), main },
            mode: Mode::Oneshot,
            dev_server: false,
            timeout: command.timeout,
            stream: Some(stream),
        }
    }
}
