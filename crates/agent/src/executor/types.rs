//! The wire of the executor, name for name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub(super) struct Health {
    pub(super) status: &'static str,
}

/// What is to run.
#[derive(Deserialize)]
pub(super) struct CommandRequest {
    pub(super) cmd: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) env: Option<BTreeMap<String, String>>,
}

/// The answer to a run that did not begin; the others are written as they are read.
#[derive(Serialize)]
pub(super) struct RunNotBegun {
    pub(super) stdout: &'static str,
    pub(super) stderr: &'static str,
    pub(super) error: String,
    pub(super) code: i32,
}

/// The last event of a command.
#[derive(Serialize)]
pub(super) struct Complete {
    pub(super) code: i32,
    pub(super) error: bool,
}

/// The last event of a log.
#[derive(Serialize)]
pub(super) struct LogComplete {
    pub(super) message: &'static str,
}

/// What could not be done.
#[derive(Serialize)]
pub(super) struct ErrorReply {
    pub(super) error: String,
}

#[derive(Deserialize)]
pub(super) struct PathRequest {
    #[serde(default)]
    pub(super) path: String,
}

#[derive(Deserialize)]
pub(super) struct WriteRequest {
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) content: String,
}

/// Whether it was done, and why not.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Content<'a> {
    pub(super) content: &'a str,
}

#[derive(Serialize)]
pub(super) struct Entries {
    pub(super) entries: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct BindRequest {
    pub(super) port: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PortReply {
    pub(super) success: bool,
    pub(super) message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PortConflict {
    pub(super) success: bool,
    pub(super) error: &'static str,
    pub(super) current_port: String,
}

#[derive(Serialize)]
pub(super) struct Started {
    pub(super) id: String,
    pub(super) pid: i32,
    pub(super) status: &'static str,
}

#[derive(Serialize)]
pub(super) struct ProcessList {
    pub(super) processes: Vec<ProcessEntry>,
}

/// One process. The client takes no other fields than these.
#[derive(Serialize)]
pub(super) struct ProcessEntry {
    pub(super) id: String,
    pub(super) command: String,
    pub(super) status: &'static str,
    pub(super) pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exit_code: Option<i32>,
    pub(super) started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completed_at: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct KillRequest {
    pub(super) id: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Killed {
    pub(super) success: bool,
    pub(super) message: &'static str,
}
