//! The black-box suite: a real server, real programs, and what the documents promise.
//!
//! Each test starts a server of its own. None knows the server's code.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "every function here is part of a test")]

mod attack;
mod bad_input;
mod budget;
mod clients;
mod command_line;
mod concurrency;
mod conformance;
mod dependencies;
mod documented_examples;
mod egress;
mod executor;
mod images;
mod isolation;
mod keys;
mod languages;
mod leftovers;
mod lifecycle;
mod limits;
mod network;
mod one_shot;
mod opensandbox;
mod persistent;
mod privileges;
mod recovery;
mod sessions;
mod snapshots;
mod storage;
mod vms;
mod volumes;
