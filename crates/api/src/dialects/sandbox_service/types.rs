//! The JSON of this dialect, spelled as its document has it. What is beyond it is called an
//! extension.

use std::collections::BTreeMap;

use protocol::SandboxId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::env_value::EnvValue;
use crate::{timestamps::WireTimestamp, words::words};

words! {
    /// A language to run programs in. `nodejs` and `ts` are other names of `node` and `typescript`;
    /// `python` and `bash` are an extension.
    RuntimeWord is "runtime" {
        Node = "node",
        Nodejs = "nodejs",
        Bun = "bun",
        Typescript = "typescript",
        Ts = "ts",
        Python = "python",
        Bash = "bash",
    }
}

words! {
    /// How long a program lives: to its end, or beyond the request that starts it.
    ModeWord is "mode" {
        Oneshot = "oneshot",
        Persistent = "persistent",
    }
}

words! {
    /// What a file's `content` is: text, or base64 (RFC 4648, section 4) of any bytes.
    EncodingWord is "encoding" {
        Utf8 = "utf8",
        Base64 = "base64",
    }
}

/// The body of `POST /sandbox` and `POST /execute`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CreateRequest {
    pub(super) runtime: RuntimeWord,
    /// The program's source text.
    #[schema(min_length = 1)]
    pub(super) code: String,
    /// In one-shot mode the file that `code` is written to, or a command to run instead; in persistent mode
    /// the command line that starts the program.
    pub(super) entry_point: Option<String>,
    /// How long one run may take, in milliseconds.
    #[schema(minimum = 1)]
    pub(super) timeout_ms: Option<u64>,
    /// Memory of all its processes together, in MiB.
    #[schema(minimum = 16)]
    pub(super) memory_limit_mb: Option<u64>,
    /// Environment variables.
    pub(super) env_vars: Option<BTreeMap<String, EnvValue>>,
    /// Further files.
    pub(super) files: Option<Vec<FileBody>>,
    pub(super) mode: Option<ModeWord>,
    /// Install what `package.json` or `requirements.txt` names before the run.
    pub(super) install_deps: Option<bool>,
    /// In persistent mode: start a development server.
    pub(super) dev_server: Option<bool>,
}

/// A file to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(expecting = "a JSON object")]
pub(super) struct FileBody {
    /// Relative to `/sandbox`, or absolute below it. Of two files of one path the last counts.
    pub(super) path: String,
    pub(super) content: String,
    /// `utf8` when missing. An extension.
    pub(super) encoding: Option<EncodingWord>,
    pub(super) is_executable: Option<bool>,
    /// Another name of `is_executable`.
    pub(super) executable: Option<bool>,
}

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StatusWord {
    /// Not run yet.
    Created,
    /// Its processes live.
    Running,
    /// Its last run ended with exit status 0.
    Completed,
    /// Its last run ended otherwise, or it could not be launched.
    Failed,
}

/// A sandbox.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SandboxBody {
    #[schema(value_type = Uuid)]
    pub(super) id: SandboxId,
    pub(super) status: StatusWord,
    /// The program's language by its first name; the image of a sandbox without a program.
    #[schema(example = "node")]
    pub(super) runtime: &'static str,
    pub(super) created_at: WireTimestamp,
    pub(super) timeout_ms: u64,
    pub(super) memory_limit_mb: u64,
    /// Where its development server is reached, if it has one. An extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dev_server_url: Option<String>,
    /// How it last ended, once it has. An extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<EndedBody>,
}

/// How a sandbox ended.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct EndedBody {
    pub(super) at: WireTimestamp,
    pub(super) reason: EndWord,
    /// The reason with its figures, for people.
    #[schema(example = "ran out of memory (limit 256 MiB)")]
    pub(super) text: String,
}

/// Why a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndWord {
    /// Its program exited by itself.
    Exited,
    /// A signal ended its program.
    Signaled,
    /// Its program ran for longer than it may.
    TimedOut,
    /// Its processes needed more memory than they may have.
    OutOfMemory,
    /// Somebody asked for its end.
    Killed,
    /// Its time to live was over.
    LeaseEnded,
    /// It could not be launched.
    LaunchFailed,
    /// It was gone: the server or the host was restarted, its agent died.
    Lost,
}

/// A limit that a run hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LimitWord {
    /// Ended at its time limit.
    Timeout,
    /// Processes of it were ended for want of memory.
    Memory,
    /// Output over the maximum was dropped.
    Output,
    /// It could not start more processes.
    Processes,
    /// Its disk was full.
    Disk,
}

/// What a run of a sandbox's program gave.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExecuteBody {
    #[schema(value_type = Uuid)]
    pub(super) sandbox_id: SandboxId,
    #[serde(flatten)]
    pub(super) run: RunBody,
}

/// What a run gave.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct RunBody {
    /// Whether it ended with exit status 0, or still runs as it should.
    pub(super) success: bool,
    /// Bytes that are not UTF-8 are replaced.
    pub(super) stdout: String,
    /// Bytes that are not UTF-8 are replaced.
    pub(super) stderr: String,
    /// 124 at the time limit, 128 and the signal's number after a signal.
    pub(super) exit_code: i32,
    /// Wall time of the run.
    pub(super) execution_time_ms: u64,
    /// Whether it still runs.
    pub(super) is_running: bool,
    /// Where its development server is reached, if it runs.
    pub(super) dev_server_url: Option<String>,
    /// The limits it hit. An extension.
    pub(super) limits_hit: Vec<LimitWord>,
}

/// The answer to written files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilesWrittenBody {
    #[schema(example = "Files uploaded successfully")]
    pub(super) message: &'static str,
    #[schema(value_type = Uuid)]
    pub(super) sandbox_id: SandboxId,
}

/// The query of the log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// How many of the last lines to return.
    #[serde(default = "LogQuery::lines_default")]
    #[param(default = 100)]
    pub(super) lines: usize,
}

impl LogQuery {
    fn lines_default() -> usize {
        100
    }
}

/// How a log line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum LevelWord {
    /// Standard output.
    Info,
    /// Standard error.
    Error,
}

/// A line of a sandbox's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogLineBody {
    pub(super) timestamp: WireTimestamp,
    pub(super) level: LevelWord,
    pub(super) message: String,
    #[schema(value_type = Uuid)]
    pub(super) sandbox_id: SandboxId,
}

/// A snapshot to take.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct KeepRequest {
    /// Unique among the sandbox's; made from the time when missing.
    pub(super) name: Option<String>,
    /// What it is for.
    pub(super) note: Option<String>,
}

/// A snapshot of a sandbox's files.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeptBody {
    pub(super) id: Uuid,
    #[schema(value_type = Uuid)]
    pub(super) sandbox_id: SandboxId,
    pub(super) name: String,
    pub(super) note: Option<String>,
    pub(super) created_at: WireTimestamp,
}

/// How many sandboxes to make from one.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ForkRequest {
    /// One when missing.
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) count: Option<usize>,
}

/// Which events to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// How many at most; 100 when missing.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<u32>,
    /// Only those before this `seq`: the next page.
    pub(super) before: Option<u64>,
    /// Only this sandbox's.
    pub(super) sandbox: Option<Uuid>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventBody {
    /// Its place in the trail; later events have higher numbers.
    pub(super) seq: u64,
    pub(super) timestamp: WireTimestamp,
    #[schema(example = "sandbox.created")]
    pub(super) kind: String,
    /// Who did it: a key, or what of the server; empty for nobody in particular.
    #[schema(example = "key:7")]
    pub(super) actor: String,
    pub(super) sandbox_id: Option<Uuid>,
    /// What else there is to say: why a sandbox ended, say.
    pub(super) detail: serde_json::Value,
}
