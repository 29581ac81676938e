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

/// What a run is joined to that somebody sits at: both ends at the speed of the slower side.
#[derive(Debug)]
pub struct Streams {
    /// The program's standard input, in pieces; when the sender is gone, its end.
    pub input: mpsc::Receiver<Vec<u8>>,
    /// Where its output goes as it is written.
    pub output: mpsc::Sender<OutputPiece>,
}

/// What a run needs to know of what it runs.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plan: ProgramPlan,
    pub(crate) mode: Mode,
    pub(crate) dev_server: bool,
    pub(crate) timeout: Duration,
    /// What its standard input is; nothing if it has none.
    pub(crate) input: Option<mpsc::Receiver<Vec<u8>>>,
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
            input: None,
            stream: None,
        })
    }

    /// The job that a program with arguments is, its input and output joined to something.
    pub(crate) fn program_joined(
        program: &Program,
        arguments: Vec<String>,
        streams: Streams,
    ) -> Result<Self> {
        let mut job = Self::program(program)?;
        job.plan.main.argv.extend(arguments);
        Ok(Self { input: Some(streams.input), stream: Some(streams.output), ..job })
    }

    /// The job that a command is.
    pub(crate) fn command(command: CommandSpec, streams: Streams) -> Self {
        let main = Command { argv: command.argv, env: Vec::new() };
        Self {
            plan: ProgramPlan { files: Vec::new(), setup: Vec::new(), main },
            mode: Mode::Oneshot,
            dev_server: false,
            timeout: command.timeout,
            input: Some(streams.input),
            stream: Some(streams.output),
        }
    }
}
