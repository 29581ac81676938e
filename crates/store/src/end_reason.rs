//! Why a sandbox ended.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

/// Why a sandbox ended. Its `Display` is a clause for people: "ran out of memory (limit 256 MiB)".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EndReason {
    /// Its program exited by itself.
    Exited {
        /// The exit status, 0 to 255.
        code: i32,
    },
    /// Its program was ended by a signal that Atoll did not send.
    Signaled {
        /// The number of signal(7).
        signal: i32,
    },
    /// Its program ran for longer than it may.
    TimedOut {
        /// The time limit in milliseconds.
        limit_ms: u64,
    },
    /// Its processes needed more memory than they may have.
    OutOfMemory {
        /// The memory limit in bytes.
        limit_bytes: u64,
    },
    /// Somebody asked for its end.
    Killed {
        /// Who: the owner's name, `""` for nobody in particular.
        by: String,
    },
    /// Its time to live was over.
    LeaseEnded,
    /// It could not be launched.
    LaunchFailed {
        /// The step of the launch that failed.
        step: String,
        /// The error number of errno(3); 0 where there was none.
        errno: i32,
    },
    /// Its image could not be had.
    NoImage {
        /// Why not, for the client.
        reason: String,
    },
    /// It was gone: the host was restarted, its agent died.
    Lost {
        /// What was found.
        detail: String,
    },
}

impl fmt::Display for EndReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(out, "exited with status {code}"),
            Self::Signaled { signal } => write!(out, "was ended by signal {signal}"),
            Self::TimedOut { limit_ms } => write!(out, "ran out of time (limit {limit_ms} ms)"),
            Self::OutOfMemory { limit_bytes } if limit_bytes % (1 << 20) == 0 => {
                write!(out, "ran out of memory (limit {} MiB)", limit_bytes >> 20)
            }
            Self::OutOfMemory { limit_bytes } => {
                write!(out, "ran out of memory (limit {limit_bytes} bytes)")
            }
            Self::Killed { by } if by.is_empty() => out.write_str("was stopped on request"),
            Self::Killed { by } => write!(out, "was stopped on request of {by}"),
            Self::LeaseEnded => out.write_str("reached the end of its lease"),
            Self::NoImage { reason } => write!(out, "has no image: {reason}"),
            Self::LaunchFailed { step, errno: 0 } => write!(out, "could not be launched: {step}"),
            Self::LaunchFailed { step, errno } => {
                write!(out, "could not be launched: {step}: {}", io::Error::from_raw_os_error(*errno))
            }
            Self::Lost { detail } => write!(out, "was lost: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_forms_and_texts() {
        let reasons = [
            (EndReason::Exited { code: 3 }, r#"{"kind":"exited","code":3}"#, "exited with status 3"),
            (EndReason::Signaled { signal: 9 }, r#"{"kind":"signaled","signal":9}"#, "was ended by signal 9"),
            (
                EndReason::TimedOut { limit_ms: 1500 },
                r#"{"kind":"timed_out","limit_ms":1500}"#,
                "ran out of time (limit 1500 ms)",
            ),
            (
                EndReason::OutOfMemory { limit_bytes: 256 << 20 },
                r#"{"kind":"out_of_memory","limit_bytes":268435456}"#,
                "ran out of memory (limit 256 MiB)",
            ),
            (
                EndReason::OutOfMemory { limit_bytes: 20_000_000 },
                r#"{"kind":"out_of_memory","limit_bytes":20000000}"#,
                "ran out of memory (limit 20000000 bytes)",
            ),
            (
                EndReason::Killed { by: "alice".to_owned() },
                r#"{"kind":"killed","by":"alice"}"#,
                "was stopped on request of alice",
            ),
            (
                EndReason::Killed { by: String::new() },
                r#"{"kind":"killed","by":""}"#,
                "was stopped on request",
            ),
            (
                EndReason::NoImage { reason: "it is private".to_owned() },
                r#"{"kind":"no_image","reason":"it is private"}"#,
                "has no image: it is private",
            ),
            (EndReason::LeaseEnded, r#"{"kind":"lease_ended"}"#, "reached the end of its lease"),
            (
                EndReason::LaunchFailed { step: "mount /proc".to_owned(), errno: 2 },
                r#"{"kind":"launch_failed","step":"mount /proc","errno":2}"#,
                "could not be launched: mount /proc: No such file or directory (os error 2)",
            ),
            (
                EndReason::LaunchFailed { step: "no free ids".to_owned(), errno: 0 },
                r#"{"kind":"launch_failed","step":"no free ids","errno":0}"#,
                "could not be launched: no free ids",
            ),
            (
                EndReason::Lost { detail: "the host was restarted".to_owned() },
                r#"{"kind":"lost","detail":"the host was restarted"}"#,
                "was lost: the host was restarted",
            ),
        ];
        for (reason, json, text) in reasons {
            assert_eq!(serde_json::to_string(&reason).unwrap(), json);
            assert_eq!(serde_json::from_str::<EndReason>(json).unwrap(), reason);
            assert_eq!(reason.to_string(), text);
        }
    }
}
