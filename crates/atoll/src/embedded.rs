//! The agent that every sandbox starts with, as part of this binary: one file is all there is to install.
//!
//! It must not know how the agent gets into a sandbox; it only holds the bytes.

/// The agent: a static ELF program for this machine's architecture, built by `build.rs`.
pub(crate) static AGENT: &[u8] = include_bytes!(env!("ATOLL_AGENT_BINARY"));

#[cfg(test)]
mod tests {
    use super::AGENT;

    /// Offsets and values after elf(5): a 64-bit ELF header, then program headers that each start with their type.
    const PT_INTERP: u32 = 3;

    fn number(at: usize, length: usize) -> usize {
        AGENT[at..at + length].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    }

    #[test]
    fn the_agent_is_a_program_that_needs_no_loader() {
        assert_eq!(AGENT[..5], *b"\x7fELF\x02");
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        assert!(count > 0);
        let interpreters = (0..count).filter(|index| number(table + index * size, 4) == PT_INTERP as usize);
        assert_eq!(interpreters.count(), 0);
    }
}
