//! Slots and their user namespaces.
//!
//! A user namespace is made once for each slot and kept by its descriptor: its ids are the slot's, and a
//! sandbox enters it as the last thing before exec. No two sandboxes are in one at a time.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::{
    failure::StepError,
    plan::{Instance, SLOTS_PER_INSTANCE, Slot},
    user_namespace::user_namespace_create,
};

/// The slots of this instance.
pub(super) struct Slots {
    instance: Instance,
    free: Vec<u16>,
    user_namespaces: Vec<Option<OwnedFd>>,
}

impl Slots {
    pub(super) fn new(instance: Instance) -> Self {
        let user_namespaces = (0..SLOTS_PER_INSTANCE).map(|_| None).collect();
        // Taken from the end: low numbers first, and the last freed again, whose namespace exists.
        Self { instance, free: (0..SLOTS_PER_INSTANCE).rev().collect(), user_namespaces }
    }

    /// A slot that nobody has.
    pub(super) fn take(&mut self) -> Option<Slot> {
        self.free.pop().map(|number| Slot { instance: self.instance, number })
    }

    /// Takes a certain slot. Returns whether it was free.
    pub(super) fn reserve(&mut self, slot: Slot) -> bool {
        let position = self.free.iter().position(|number| *number == slot.number);
        position.map(|position| self.free.remove(position)).is_some()
    }

    /// Gives a slot back, once nothing of its sandbox runs.
    pub(super) fn release(&mut self, slot: Slot) {
        self.free.push(slot.number);
    }

    /// The user namespace of a slot, made if it was not yet.
    pub(super) fn user_namespace(&mut self, slot: Slot) -> Result<BorrowedFd<'_>, StepError> {
        let place = &mut self.user_namespaces[usize::from(slot.number)];
        if place.is_none() {
            *place = Some(user_namespace_create(slot.first_id())?);
        }
        place.as_ref().map(AsFd::as_fd).ok_or_else(|| StepError::new("take a slot", rustix::io::Errno::NOENT))
    }
}
