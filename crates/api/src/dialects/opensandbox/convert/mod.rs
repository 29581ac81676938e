//! The only place where this dialect's words and the engine's meet.

mod bodies;
mod create;
mod filter;
mod labels;
mod network_policy;
mod quantity;
mod volumes;

pub(super) use bodies::{diagnostic_body, event_lines, log_lines, sandbox_body, snapshot_body, state_word};
pub(super) use create::{Creation, creation};
pub(super) use filter::{SandboxFilter, SnapshotFilter};
pub(super) use labels::metadata_patch;
pub(super) use network_policy::{policy_body, policy_or_open, policy_rules, policy_targets};
pub(super) use volumes::volume_bodies;
