//! What the black-box tests share: a real server of their own, a client for it, and a look at what it leaves
//! on the host. It must not know the server's code; it knows the documented API, and where a host shows
//! processes, mounts, control groups and interfaces.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "only tests use this, and a test ends there")]

mod answer;
mod client;
pub mod deadline;
mod keys;
mod processes;
pub mod quotas;
mod server;
mod traces;
mod websocket;

pub use answer::{Answer, RawAnswer, Run};
pub use client::Client;
pub use keys::{Key, keys_command};
pub use processes::{children_of, has_ended, pids_below, status_field};
pub use server::{Server, atoll, toolchains};
pub use traces::Traces;
pub use websocket::{Incoming, Socket};
