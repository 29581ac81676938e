//! Conversations with a sandbox's agent, over one connection each.
//!
//! Nothing that comes from there is believed: lengths are bounded by the frames, output by the caller, and
//! a conversation that makes no sense ends in [`AgentError`].

mod connection;
mod exec;
pub(crate) mod limit;
pub(crate) mod tree;
pub(crate) mod zstd;

pub(crate) use connection::{AgentError, Connection, Incoming, Receiving, Sending};
pub(crate) use exec::{
    ExecEvent, ExecOutput, exec_attach, exec_collect, exec_collect_started, exec_feed_collect, exec_input,
    exec_next, exec_start, exec_started, file_read, files_write, files_write_and_exec_start, folder_create,
    ping, port_answers, request_done, request_send, retain_bytes,
};
