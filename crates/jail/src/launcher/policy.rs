//! Requests about network policies, and what is noted of them for the next launcher.

use std::{fs::File, io::Read};

use protocol::{
    SandboxId,
    launcher::{ADDRESSES_KNOWN_MAX, KNOWN_SECONDS_MAX, KnownAddress, Reply},
    policy::{Action, NetworkPolicy, TARGETS_BYTES_MAX},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{calls, serve::Launcher};
use crate::{
    failure::{Step, StepError},
    plan::Slot,
};

/// More than a note has: each rule has a few bytes beside its target.
const NOTE_BYTES_MAX: u64 = 4 * TARGETS_BYTES_MAX as u64;

impl Launcher {
    /// Puts a policy in force for a sandbox that runs.
    pub(super) fn network_policy_set(
        &mut self,
        number: u64,
        sandbox: SandboxId,
        policy: NetworkPolicy,
        known: &[KnownAddress],
    ) {
        let set = self.guarded(sandbox, known).and_then(|slot| {
            if self.uplink.policies()?.get(slot) != Some(&policy) {
                self.policy_apply(sandbox, slot, policy, known)?;
            }
            Ok(slot.address())
        });
        match set {
            Ok(address) => calls::send(&self.socket, &Reply::NetworkPolicy { number, address }, None),
            Err(error) => self.answer_failed(number, error),
        }
    }

    /// Lets a sandbox reach addresses, or keeps it from them, as its policy has it for their names.
    pub(super) fn network_addresses(&mut self, number: u64, sandbox: SandboxId, known: &[KnownAddress]) {
        let added =
            self.guarded(sandbox, known).and_then(|slot| self.uplink.policies()?.addresses_add(slot, known));
        match added {
            Ok(()) => calls::send(&self.socket, &Reply::Done { number }, None),
            Err(error) => self.answer_failed(number, error),
        }
    }

    /// Puts a policy in force, and notes it for the launcher that may come after this one.
    pub(super) fn policy_apply(
        &mut self,
        sandbox: SandboxId,
        slot: Slot,
        policy: NetworkPolicy,
        known: &[KnownAddress],
    ) -> Result<(), StepError> {
        let note = postcard::to_stdvec(&policy)
            .map_err(|_| StepError::new("encode the network policy", Errno::INVAL))?;
        let file = self.config.data.policy_file(sandbox);
        let draft = self.config.data.run_folder(sandbox).join("policy.new");
        let noted = || -> Result<(), StepError> {
            std::fs::write(&draft, &note).step(|| format!("write {draft}"))?;
            std::fs::rename(&draft, &file).step(|| format!("rename {draft}"))
        };
        let policies = self.uplink.policies()?;
        if policies.get(slot).is_none() {
            // A launcher that finds the note puts the first policy in force, should this one die before it is.
            noted()?;
            return policies.set(slot, policy, known);
        }
        // And one that finds the note of the policy before is asked for this one again.
        policies.set(slot, policy, known)?;
        noted()
    }

    /// The policy that an earlier launcher noted. One that can't be read lets nothing through.
    pub(super) fn policy_noted(&self, sandbox: SandboxId) -> Option<NetworkPolicy> {
        let path = self.config.data.policy_file(sandbox);
        // As with the other note: nothing to follow, to wait for, or to read at length.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path.as_path(), flags, Mode::empty()) {
            Err(Errno::NOENT) => return None,
            opened => opened,
        };
        let mut bytes = Vec::new();
        let read = file.map(|file| File::from(file).take(NOTE_BYTES_MAX).read_to_end(&mut bytes));
        let policy = read.ok().and_then(|_| postcard::from_bytes(&bytes).ok());
        Some(policy.unwrap_or_else(|| NetworkPolicy::of_default(Action::Deny)))
    }

    /// The slot of a sandbox that can have a policy, if what is said of addresses is in bounds.
    fn guarded(&mut self, sandbox: SandboxId, known: &[KnownAddress]) -> Result<Slot, StepError> {
        let refuse = |step: &str, errno| Err(StepError::new(format!("check the request: {step}"), errno));
        if known.len() > ADDRESSES_KNOWN_MAX {
            return refuse("too many addresses", Errno::INVAL);
        }
        if known.iter().any(|known| known.seconds == 0 || known.seconds > KNOWN_SECONDS_MAX) {
            return refuse("an address is known for no time, or for too long", Errno::INVAL);
        }
        match self.running.get(&sandbox) {
            None => refuse("the sandbox does not run", Errno::SRCH),
            Some(running) if !running.has_network => refuse("the sandbox has no network", Errno::NODEV),
            Some(running) => Ok(running.slot),
        }
    }
}
