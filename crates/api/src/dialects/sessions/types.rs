//! The JSON of this dialect, spelled as its document has it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::timestamps::WireTimestamp;

/// A session to make. All of it may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionRequest {
    /// Whose it is, in the client's words: they come back as they are.
    #[schema(value_type = Option<String>)]
    pub(super) user_id: Option<serde_json::Value>,
    /// What it is to be: `active`.
    pub(super) status: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionBody {
    /// What it is called.
    #[schema(example = "session_1234567890123_0a1b2c3d4e5f6g7h8i9j0k1l2")]
    pub(super) id: String,
    /// What the client gave.
    #[schema(required, value_type = Option<String>)]
    pub(super) user_id: serde_json::Value,
    /// `active`, `paused` (the next call resumes it), `starting`, `ended`.
    pub(super) status: &'static str,
    /// When it was made.
    pub(super) created_at: WireTimestamp,
    /// When it was last called.
    pub(super) last_activity: WireTimestamp,
}

/// A file or folder of the tree.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeBody {
    /// Its path again.
    pub(super) id: String,
    /// The last part of its path.
    pub(super) name: String,
    /// Where it is, from the workspace on.
    pub(super) path: String,
    /// `directory`, `file`, `symlink`, or `other` (a pipe, a socket, a device).
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// What is in it, of a folder: folders first, then by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub(super) children: Option<Vec<NodeBody>>,
    /// Its bytes, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// What its name says it is, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) mime_type: Option<String>,
}

/// Which file.
#[derive(Debug, Deserialize)]
pub(super) struct PathQuery {
    pub(super) path: Option<String>,
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ContentBody {
    /// Its text; of a file that is no UTF-8 its bytes in base64.
    pub(super) content: String,
    /// `base64` where it is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encoding: Option<&'static str>,
}

/// A file to write.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct ContentRequest {
    /// Where, from the workspace on. Folders above it are made.
    pub(super) path: Option<String>,
    /// What it is to hold; may be empty.
    pub(super) content: Option<String>,
    /// `base64` if the content is bytes in base64. An extension, so that what was read can be written.
    pub(super) encoding: Option<String>,
}

/// That it was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuccessBody {
    /// `true`.
    pub(super) success: bool,
}

/// It was.
pub(super) const SUCCESS: SuccessBody = SuccessBody { success: true };

/// A file to upload.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "for the document: it is read piece by piece")]
pub(super) struct UploadForm {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    pub(super) file: Vec<u8>,
    /// Where it goes, with its name.
    pub(super) path: String,
}

/// A command to run, without a shell.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct ExecuteRequest {
    /// The program.
    pub(super) command: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub(super) args: Vec<String>,
}

/// What a command gave.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OutcomeBody {
    /// What it wrote to standard output. Bytes that are no UTF-8 are shown as U+FFFD.
    pub(super) stdout: String,
    /// The same of standard error.
    pub(super) stderr: String,
    /// Its status; 128 and the signal if one ended it; 124 at the time limit.
    pub(super) exit_code: i32,
}

/// A process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessBody {
    /// Its number again.
    pub(super) id: i32,
    /// The session.
    pub(super) session_id: String,
    /// Its number inside.
    pub(super) pid: i32,
    /// Its name.
    pub(super) name: String,
    /// Its program and arguments.
    pub(super) command: String,
    /// `running`, `stopped` or `zombie`.
    pub(super) status: &'static str,
    /// Percent of one processor.
    pub(super) cpu_usage: f64,
    /// Resident memory in MB.
    pub(super) memory_usage: f64,
    /// When it started.
    pub(super) started_at: WireTimestamp,
}

/// A variable to set.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct VariableRequest {
    /// Its name: letters, digits and `_`, no digit first.
    pub(super) key: Option<String>,
    /// Its value; may be empty.
    pub(super) value: Option<String>,
}

/// A variable of the environment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariableBody {
    /// A number that it keeps when its value is replaced.
    pub(super) id: u32,
    /// The session.
    pub(super) session_id: String,
    /// Its name.
    pub(super) key: String,
    /// Its value.
    pub(super) value: String,
    /// When it got this value.
    pub(super) created_at: WireTimestamp,
}

/// What the machine does.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsBody {
    /// Percent of all its processors.
    pub(super) cpu: f64,
    /// Its memory in MB.
    pub(super) memory: AmountBody,
    /// The file system of the server's data in MB.
    pub(super) disk: AmountBody,
    /// How many there are.
    pub(super) processes: u64,
}

/// How much of something is used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AmountBody {
    /// So much is.
    pub(super) used: u64,
    /// Of this.
    pub(super) total: u64,
}
