//! execd over HTTP, with real programs and files. One module per promise.

mod code;
mod commands;
mod doors;
mod downloads;
mod files;
mod metrics;
mod pty;
mod pty_clients;
mod sessions;
mod streams;
mod uploads;
