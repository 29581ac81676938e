//! How a process that was handed to the agent as an orphan is recognised as an exec's.
//!
//! Session, process group and parent of a daemon say nothing any more about who started it. Two marks do,
//! which every exec's main process gets and all its descendants inherit:
//!
//! * the value of `RLIMIT_LOCKS`, a limit without any effect since Linux 2.4.25 (getrlimit(2)). It survives
//!   `exec` and a cleared environment, shows in `/proc/<pid>/limits` to every user, and without
//!   `CAP_SYS_RESOURCE` in the host's own user namespace it can't be raised again;
//! * the variable `ATOLL_EXEC` in the environment, where `/proc` shows no limits or they can't be set.
//!
//! A hostile program can lose both. What it leaves behind then lives until its sandbox ends.

use std::{fs, io::Read};

use protocol::ExecId;

/// The environment variable that carries the exec's id.
pub(crate) const MARK_VARIABLE: &str = "ATOLL_EXEC";
/// Where the numbers start: clear of what an operator could have set the limit to.
const NUMBER_BASE: u64 = 1 << 20;
/// How much of an environment is searched for the mark: it is put first.
const ENVIRONMENT_BYTES: u64 = 4096;

/// One exec's marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    id: ExecId,
    number: u64,
}

impl Mark {
    /// The marks of the exec with this id, the agent's `count`th.
    pub(crate) fn new(id: ExecId, count: u64) -> Self {
        Self { id, number: NUMBER_BASE + count }
    }

    /// The value of `RLIMIT_LOCKS`.
    pub(crate) fn number(self) -> u64 {
        self.number
    }

    /// `ATOLL_EXEC=<id>`.
    pub(crate) fn variable(self) -> String {
        format!("{MARK_VARIABLE}={}", self.id)
    }

    /// Whether a process bears one of them.
    pub(crate) fn is_on(self, pid: i32) -> bool {
        // Without an effect, files of a process that is gone or not for the agent to read bear no mark.
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        limits_number(&limits) == Some(self.number) || self.is_in_environment(pid)
    }

    fn is_in_environment(self, pid: i32) -> bool {
        let mut start = Vec::new();
        let read = fs::File::open(format!("/proc/{pid}/environ"))
            .and_then(|file| file.take(ENVIRONMENT_BYTES).read_to_end(&mut start));
        read.is_ok() && start.split(|byte| *byte == 0).any(|entry| entry == self.variable().as_bytes())
    }
}

/// The hard `RLIMIT_LOCKS` in the text of `/proc/<pid>/limits`: proc(5).
fn limits_number(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_proc_text() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max address space         unlimited            unlimited            bytes     \n\
                      Max file locks            1048577              1048578              locks     \n";
        assert_eq!(limits_number(limits), Some(1_048_578));
        assert_eq!(
            limits_number("Max file locks            unlimited            unlimited            locks"),
            None
        );
        assert_eq!(limits_number(""), None);
    }

    #[test]
    fn this_process_bears_no_mark() {
        let mark = Mark::new(ExecId::random(), 1);
        assert!(!mark.is_on(std::process::id().cast_signed()));
    }
}
