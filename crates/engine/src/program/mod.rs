//! Programs: source text in some language, with files, to be run in a sandbox.
//!
//! A program belongs to a sandbox and is kept with its record, so that it can be run again.

mod job;
mod plan;
mod run;

use std::{fmt, str::FromStr, time::Duration};

pub(crate) use job::Job;
pub use job::{OutputPiece, Streams};
use plan::endings;
pub(crate) use plan::{DEV_SERVER_PORT, ProgramPlan, program_plan};
use protocol::{GuestPath, agent::ExitStatus};
pub(crate) use run::{
    RunContext, Setup, file_error, files_upload, not_started, result_of, sandbox_ended, set_up,
};
use serde::{Deserialize, Serialize};

/// The folder that programs live and run in.
pub const WORK_FOLDER: &str = "/sandbox";

/// A language that programs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// JavaScript on Node.js.
    Node,
    /// JavaScript or TypeScript on Bun.
    Bun,
    /// TypeScript, type-checked and compiled, on Node.js.
    Typescript,
    /// Python 3 of the image.
    Python,
    /// GNU bash.
    Bash,
}

impl Language {
    /// Every language, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Node, Self::Bun, Self::Typescript, Self::Python, Self::Bash];

    /// Its name in texts and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Typescript => "typescript",
            Self::Python => "python",
            Self::Bash => "bash",
        }
    }

    /// Whether an `entry_point` of this name is taken for a file in this language, and not for a command.
    #[must_use]
    pub fn is_file(self, name: &str) -> bool {
        !name.contains(char::is_whitespace) && endings(self).iter().any(|ending| name.ends_with(ending))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.name() == text).ok_or(UnknownLanguage)
    }
}

/// The text names no [`Language`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language; known are node, bun, typescript, python and bash")]
pub struct UnknownLanguage;

/// How long a program is meant to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It runs to its end; afterwards the sandbox holds no process.
    #[default]
    Oneshot,
    /// It goes on after the run has been answered.
    Persistent,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its language.
    pub language: Language,
    /// Its source text. Never empty.
    pub code: String,
    /// In one-shot mode the file that the code is written to, or a command to run instead of the
    /// language's own; in persistent mode the command line that starts it.
    pub entry_point: Option<String>,
    /// Further files.
    pub files: Vec<ProgramFile>,
    /// How long it lives.
    pub mode: Mode,
    /// Install what `package.json` or `requirements.txt` names before the run.
    pub install_dependencies: bool,
    /// In persistent mode: start the development server (`entry_point`, or the language's default).
    pub dev_server: bool,
    /// The time that one run, installation included, may take.
    pub timeout: Duration,
}

/// A single command, to be run once in a fresh sandbox, its input and output streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// Program and arguments. A program without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// The time it may take.
    pub timeout: Duration,
}

/// A file of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFile {
    /// Where it goes; below [`WORK_FOLDER`].
    pub path: GuestPath,
    /// Its content.
    pub content: Vec<u8>,
    /// Mode `0755` instead of `0644`.
    pub executable: bool,
}

/// Bytes of each stream that stay on record with a sandbox.
const RECORDED_BYTES_MAX: usize = 64 << 10;

/// What a run of a program gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramResult {
    /// How it ended; `None` while it still runs (persistent mode).
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output, up to the configured maximum.
    #[serde(with = "base64_text")]
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, up to the configured maximum, then a line for each limit it hit.
    #[serde(with = "base64_text")]
    pub stderr: Vec<u8>,
    /// How many bytes at the end of that are lines about limits.
    #[serde(default)]
    pub noted_bytes: usize,
    /// Wall time of the run.
    pub wall: Duration,
    /// The limits that it hit.
    pub limits_hit: Vec<LimitHit>,
}

impl ProgramResult {
    /// The same with only the latest part of long output, for the record.
    pub(crate) fn shortened(&self) -> Self {
        let tail = |bytes: &[u8]| bytes[bytes.len().saturating_sub(RECORDED_BYTES_MAX)..].to_vec();
        Self { stdout: tail(&self.stdout), stderr: tail(&self.stderr), ..self.clone() }
    }

    /// What it wrote to standard error itself.
    #[must_use]
    pub fn stderr_written(&self) -> &[u8] {
        &self.stderr[..self.stderr.len().saturating_sub(self.noted_bytes)]
    }

    /// Whether it ended with status 0, or still runs as it should.
    #[must_use]
    pub fn success(&self) -> bool {
        matches!(self.status, None | Some(ExitStatus::Exited(0)))
    }
}

/// A limit that a program hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitHit {
    /// It was ended at its time limit.
    Timeout,
    /// The kernel ended processes of it for want of memory.
    Memory,
    /// Output over the maximum was dropped.
    Output,
    /// It could not start more processes.
    Processes,
    /// Its disk was full.
    Disk,
}

/// Bytes as base64 in records: JSON has no bytes, and a list of numbers is four times as long.
mod base64_text {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}
