//! The processes that `/proc` shows, and a signal to one of them and no other.
//!
//! It must not know execs.

use std::{
    fs,
    io::{self, Read},
    os::fd::AsFd,
};

use rustix::fs::{Mode, OFlags, open, openat};

use crate::sys;

/// One process, from `/proc/<pid>/stat`: proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// In clock ticks since boot: with the pid, names the process for ever.
    pub(crate) start_ticks: u64,
    /// It has ended and waits to be reaped.
    pub(crate) is_zombie: bool,
}

/// All processes, as far as they could be read: empty without a `/proc`.
pub(crate) fn processes_list() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| stat_parse(&fs::read(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// The process with this number, a zombie among them.
pub(crate) fn process_find(pid: i32) -> Option<Process> {
    stat_parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Signals this process, not one that has got its number since.
///
/// # Errors
/// Those of open(2) and pidfd_send_signal(2); also when the process is gone.
pub(crate) fn process_signal(process: &Process, signal: i32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // All that is read through this descriptor is about one process, whatever becomes of its number.
    let folder = open(format!("/proc/{}", process.pid), flags, Mode::empty())?;
    let mut text = Vec::new();
    fs::File::from(openat(&folder, "stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        .read_to_end(&mut text)?;
    if stat_parse(&text).is_none_or(|now| now.start_ticks != process.start_ticks) {
        return Err(io::Error::from_raw_os_error(sys::number::ESRCH));
    }
    match sys::folder_signal(folder.as_fd(), signal) {
        // Kernels and filters that do not have the call; the check above makes a mistake very unlikely.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(sys::number::ENOSYS | sys::number::EPERM | sys::number::EBADF)
            ) =>
        {
            sys::pid_signal(process.pid, signal)
        }
        result => result,
    }
}

/// The name in parentheses may itself contain parentheses and spaces: the last one closes it.
fn stat_parse(stat: &[u8]) -> Option<Process> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let pid = std::str::from_utf8(&stat[..open]).ok()?.trim().parse().ok()?;
    let mut fields = std::str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // Field 22; the session was the 6th.
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, group, session, start_ticks, is_zombie: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = b"42 (a) R (b) S 1 40 39 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        assert_eq!(
            stat_parse(stat),
            Some(Process { pid: 42, parent: 1, group: 40, session: 39, start_ticks: 777, is_zombie: false })
        );
        assert_eq!(stat_parse(b"42 (a"), None);
        assert_eq!(stat_parse(b""), None);
    }

    #[test]
    fn this_process_is_listed() {
        let own = std::process::id().cast_signed();
        let found = processes_list().into_iter().find(|process| process.pid == own).unwrap();
        assert_eq!(found.parent, std::os::unix::process::parent_id().cast_signed());
        process_signal(&found, 0).unwrap();
        let other = Process { start_ticks: found.start_ticks + 1, ..found };
        assert!(process_signal(&other, 0).is_err());
    }
}
