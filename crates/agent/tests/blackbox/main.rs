//! The agent from outside: the real program, spoken to over its socket. One module per promise.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as tests do")]

mod attach;
mod connections;
mod environment;
mod exec;
mod execd;
mod executor;
mod files;
mod http;
mod limits;
mod output;
mod ports;
mod terminals;
mod trees;
mod wire;
mod workspace;
