//! The seccomp policy: a table of what is allowed, and a compiler from it to the kernel's filter program.
//!
//! The compiler is Atoll's own for one reason: the kernel runs a new filter once for every system call
//! number (it caches those that are always allowed, since Linux 5.11), so each launch pays for the length of
//! the path to a verdict. A search tree has a path of about 8 comparisons where a chain has hundreds.

mod compile;
mod table;

pub use compile::compile;
pub use table::{CONDITIONAL, Group, HIGHEST_KNOWN, NOT_THERE, allowed_groups};

/// What happens to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Allow,
    /// It fails with `EPERM`, as in Docker.
    Deny,
    /// It fails with `ENOSYS`: programs then use what came before it.
    NotThere,
    /// It depends on an argument.
    If(Condition),
}

/// Arguments that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The argument has none of these bits; otherwise [`Verdict::Deny`].
    WithoutBits {
        /// Its position, from 0.
        argument: u8,
        /// The bits.
        bits: u32,
    },
    /// None of these sets of arguments, each with its position and value, is there whole; otherwise
    /// [`Verdict::Deny`].
    NoneOf {
        /// The sets.
        sets: &'static [&'static [(u8, u32)]],
    },
    /// The argument is one of these; otherwise [`Verdict::Deny`].
    IsOneOf {
        /// Its position, from 0.
        argument: u8,
        /// The values.
        values: &'static [u32],
    },
    /// The argument is not of a family, or is one of these; otherwise [`Verdict::Deny`].
    OutsideFamily {
        /// Its position, from 0.
        argument: u8,
        /// The bits that name the family.
        bits: u32,
        /// The family.
        family: u32,
        /// Those of the family that are allowed.
        but: &'static [u32],
    },
}

/// The verdict over a system call number, as the table has it.
#[must_use]
pub fn verdict(number: u32) -> Verdict {
    if let Some((_, _, condition)) = CONDITIONAL.iter().find(|(_, conditional, _)| *conditional == number) {
        Verdict::If(*condition)
    } else if number > HIGHEST_KNOWN || NOT_THERE.iter().any(|(_, absent)| *absent == number) {
        Verdict::NotThere
    } else if allowed_groups().any(|group| group.calls.iter().any(|(_, allowed)| *allowed == number)) {
        Verdict::Allow
    } else {
        Verdict::Deny
    }
}
