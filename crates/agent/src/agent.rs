//! What all connections of one agent share.
//!
//! Everything here lives on the one runtime thread; borrows never cross an `await`.

use std::{
    cell::RefCell,
    fs::{File, OpenOptions},
    io,
};

use protocol::frame::STREAM_BYTES;

use crate::{
    exec::Registry, execd::Execd, executor::Executor, files::Worker, processes::Looks, surroundings::Said,
};

/// The most that is read from a pipe at once.
pub(crate) const SCRATCH_BYTES: usize = STREAM_BYTES;

/// The agent's state.
pub(crate) struct Agent {
    /// The execs that run or wait to be collected.
    pub(crate) execs: Registry,
    /// What the server has said of the sandbox.
    pub(crate) surroundings: Said,
    /// What clients of execd can name: their commands and sessions.
    pub(crate) execd: Execd,
    /// The same of the executor.
    pub(crate) executor: Executor,
    /// What processes had used when they were looked at.
    pub(crate) looks: RefCell<Looks>,
    /// Does the file system calls that a slow disk could stall.
    pub(crate) files: Worker,
    /// `/dev/null`, opened before any program could replace it.
    pub(crate) null: File,
    /// Where pipes are read into before it is known how much they hold: one buffer for all execs.
    pub(crate) scratch: RefCell<Vec<u8>>,
}

impl Agent {
    /// # Errors
    /// When `/dev/null` can't be opened.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            execs: Registry::default(),
            surroundings: Said::default(),
            execd: Execd::default(),
            executor: Executor::default(),
            looks: RefCell::default(),
            files: Worker::default(),
            null: OpenOptions::new().read(true).write(true).open("/dev/null")?,
            // Not zeroed: its pages are made when output comes, not at each launch.
            scratch: RefCell::new(Vec::with_capacity(SCRATCH_BYTES)),
        })
    }
}
