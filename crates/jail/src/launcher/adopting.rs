//! Taking over sandboxes that an earlier launcher started: it left a note beside each one's socket.
//!
//! After this, what has a folder in `run/` runs and is watched. What can't be taken over is ended.

use std::{fmt, fs::File, io::Read};

use protocol::SandboxId;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    groups,
    running::{Phase, Running},
    serve::Launcher,
};
use crate::{
    failure::{Step, StepError},
    plan::Slot,
};

/// More than a note has.
const NOTE_BYTES_MAX: u64 = 256;

/// What has to be known of a running sandbox that can't be read off its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The name of its control groups: its own, or the one it was prepared under.
    pub(super) group: SandboxId,
    /// The number of its slot.
    pub(super) slot: u16,
    /// Its first process, as the host sees it.
    pub(super) pid: i32,
    /// Whether it has an interface.
    pub(super) has_network: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, slot, pid, has_network } = self;
        write!(out, "{group} {slot} {pid} {has_network}")
    }
}

impl Note {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let note = Self {
            group: words.next()?.parse().ok()?,
            slot: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            has_network: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(note)
    }
}

impl Launcher {
    /// Leaves the note of a sandbox whose first process was just started.
    pub(super) fn note_write(&self, running: &Running) -> Result<(), StepError> {
        let Running { sandbox, slot, pid, has_network, .. } = running;
        let note = Note { group: *sandbox, slot: slot.number, pid: *pid, has_network: *has_network };
        let file = self.config.data.group_file(*sandbox);
        std::fs::write(&file, note.to_string()).step(|| format!("write {file}"))
    }

    pub(super) fn note_read(&self, sandbox: SandboxId) -> Option<Note> {
        let path = self.config.data.group_file(sandbox);
        // Whatever lies there in a note's place: nothing to follow, to wait for, or to read at length.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path.as_path(), flags, Mode::empty()).ok()?;
        let mut text = String::new();
        File::from(file).take(NOTE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Note::parse(&text)
    }

    /// Takes over what runs, and ends what can't be taken over.
    pub(super) fn adopt_all(&mut self) -> Result<(), StepError> {
        for sandbox in self.started() {
            match self.adopt(sandbox) {
                Ok(running) => self.watch(running)?,
                Err(error) => {
                    super::tell(format_args!("end {sandbox}: {error}"));
                    let plan = self.cgroup_of(sandbox);
                    self.stray_kill(&plan)?;
                    self.leftovers_remove(sandbox, &plan);
                }
            }
        }
        self.uplink.policies_clean()
    }

    fn adopt(&mut self, sandbox: SandboxId) -> Result<Running, StepError> {
        let refuse = |why: &str, errno| StepError::new(format!("take it over: {why}"), errno);
        let note =
            self.note_read(sandbox).ok_or_else(|| refuse("it has no note that can be read", Errno::NOENT))?;
        let cgroup = self.cgroup_of(sandbox);
        let pid = Pid::from_raw(note.pid).ok_or_else(|| refuse("its note has no process", Errno::SRCH))?;
        let pidfd =
            pidfd_open(pid, PidfdFlags::empty()).step(|| "take it over: open its process".to_owned())?;
        // In this order: the number may have been given to another process, but not while the descriptor is held.
        if !groups::processes(&cgroup).contains(&note.pid) {
            return Err(refuse("it has ended", Errno::SRCH));
        }
        let slot = Slot { instance: self.config.instance, number: note.slot };
        if !self.slots.reserve(slot) {
            return Err(refuse("another one has its slot", Errno::EXIST));
        }
        if let Some(policy) = self.policy_noted(sandbox)
            && let Err(error) = self.uplink.policy_adopt(slot, policy)
        {
            self.slots.release(slot);
            return Err(error);
        }
        Ok(Running {
            sandbox,
            exit_event: 0,
            slot,
            has_network: note.has_network,
            pid: note.pid,
            pidfd,
            cgroup,
            phase: Phase::Live,
            layer_made: false,
            loan: None,
            waiting: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note { group: SandboxId::random(), slot: 7, pid: 4711, has_network: true };
        assert_eq!(Note::parse(&note.to_string()), Some(note));
    }

    #[test]
    fn anything_else_is_no_note() {
        for text in
            ["", "x", "fab81d7c-f665-432b-85c4-f9d380019709", "fab81d7c-f665-432b-85c4-f9d380019709 1 2"]
        {
            assert_eq!(Note::parse(text), None, "{text:?}");
        }
    }
}
