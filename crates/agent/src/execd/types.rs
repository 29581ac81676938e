//! The wire: what clients send and are sent, in their spelling.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /command`.
#[derive(Deserialize)]
pub(super) struct RunCommandRequest {
    /// For the shell. Either this or `argv`.
    pub(super) command: Option<String>,
    /// A program and its arguments, without a shell.
    pub(super) argv: Option<Vec<String>>,
    pub(super) cwd: Option<String>,
    #[serde(default)]
    pub(super) background: bool,
    /// Milliseconds; 0 is none.
    pub(super) timeout: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) envs: Option<BTreeMap<String, String>>,
}

/// `GET /command/status/{id}`.
#[derive(Serialize)]
pub(super) struct CommandStatusResponse {
    pub(super) id: String,
    pub(super) content: String,
    pub(super) running: bool,
    pub(super) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) started_at: String,
    pub(super) finished_at: Option<String>,
}

/// One event of a stream.
#[derive(Serialize)]
pub(super) struct ServerStreamEvent<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_time: Option<u64>,
    /// A result in each of its forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) results: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ExecutionError>,
    pub(super) timestamp: u64,
}

/// Why an execution did not succeed.
#[derive(Deserialize, Serialize)]
pub(super) struct ExecutionError {
    pub(super) ename: Cow<'static, str>,
    pub(super) evalue: String,
    pub(super) traceback: Vec<String>,
}

/// What is told of a file.
#[derive(Serialize)]
pub(super) struct FileInfo {
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) size: u64,
    pub(super) modified_at: String,
    pub(super) created_at: String,
    pub(super) owner: String,
    pub(super) group: String,
    /// The octal digits, read as if they were decimal.
    pub(super) mode: u32,
}

/// Owner, group and mode to give; what is empty or 0 is left.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Permission {
    #[serde(default)]
    pub(super) owner: Option<String>,
    #[serde(default)]
    pub(super) group: Option<String>,
    #[serde(default)]
    pub(super) mode: Option<u32>,
}

/// What comes before the content of an uploaded file.
#[derive(Deserialize)]
pub(super) struct FileMetadata {
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) permission: Permission,
}

/// One file of `POST /files/mv`.
#[derive(Deserialize)]
pub(super) struct RenameFileItem {
    pub(super) src: String,
    pub(super) dest: String,
}

/// One file of `POST /files/replace`.
#[derive(Deserialize)]
pub(super) struct ReplaceFileContentItem {
    pub(super) old: String,
    pub(super) new: String,
}

/// What became of one file of `POST /files/replace`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplaceFileContentResult {
    pub(super) replaced_count: u64,
}

/// `POST /session`.
#[derive(Default, Deserialize)]
pub(super) struct CreateSessionRequest {
    pub(super) cwd: Option<String>,
}

/// What is answered to it.
#[derive(Serialize)]
pub(super) struct CreateSessionResponse {
    pub(super) session_id: String,
}

/// `POST /session/{id}/run`.
#[derive(Deserialize)]
pub(super) struct RunInSessionRequest {
    pub(super) command: String,
    pub(super) cwd: Option<String>,
    /// Milliseconds; 0 is none.
    pub(super) timeout: Option<u64>,
}

/// `GET /metrics`.
#[derive(Serialize)]
pub(super) struct Metrics {
    pub(super) cpu_count: f64,
    /// Of all that the sandbox may use: 100 is the most.
    pub(super) cpu_used_pct: f64,
    pub(super) mem_total_mib: f64,
    pub(super) mem_used_mib: f64,
    pub(super) timestamp: u64,
}

/// `POST /code/context`, and whom `POST /code` means.
#[derive(Default, Deserialize)]
pub(super) struct CodeContextRequest {
    pub(super) id: Option<String>,
    pub(super) language: Option<String>,
}

/// A context.
#[derive(Serialize)]
pub(super) struct CodeContext {
    pub(super) id: String,
    pub(super) language: String,
}

/// `POST /code`.
#[derive(Deserialize)]
pub(super) struct RunCodeRequest {
    pub(super) context: Option<CodeContextRequest>,
    pub(super) code: String,
}
