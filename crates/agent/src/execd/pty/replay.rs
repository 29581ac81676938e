//! The latest of all that a session's programs wrote, counted from its first byte.
//!
//! Pure bookkeeping: it must not know who reads.

use std::collections::VecDeque;

/// How much is kept.
pub(super) const REPLAY_BYTES_MAX: usize = 1 << 20;

/// The latest output.
#[derive(Default)]
pub(super) struct Replay {
    kept: VecDeque<u8>,
    /// How many bytes there were before those that are kept.
    gone: u64,
}

impl Replay {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let excess = self.kept.len().saturating_sub(REPLAY_BYTES_MAX);
        self.kept.drain(..excess);
        self.gone += excess as u64;
    }

    /// How many bytes there were: the offset of the next one.
    pub(super) fn end(&self) -> u64 {
        self.gone + self.kept.len() as u64
    }

    /// How much is kept now.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Where to go on from an offset: there, at the oldest that is kept, or at the end.
    pub(super) fn clamp(&self, offset: u64) -> u64 {
        offset.clamp(self.gone, self.end())
    }

    /// At most `length` bytes from an offset that was clamped.
    pub(super) fn piece(&self, offset: u64, length: usize) -> Vec<u8> {
        let begin = usize::try_from(offset.saturating_sub(self.gone)).unwrap_or(usize::MAX).min(self.len());
        self.kept.range(begin..self.len().min(begin.saturating_add(length))).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_stay_while_the_oldest_goes() {
        let mut replay = Replay::default();
        replay.push(b"hello");
        assert_eq!((replay.end(), replay.clamp(2), replay.clamp(9)), (5, 2, 5));
        assert_eq!(replay.piece(2, 2), b"ll");
        replay.push(&vec![b'x'; REPLAY_BYTES_MAX]);
        assert_eq!((replay.end(), replay.len()), (5 + REPLAY_BYTES_MAX as u64, REPLAY_BYTES_MAX));
        assert_eq!((replay.clamp(2), replay.clamp(7)), (5, 7));
        assert_eq!(replay.piece(replay.clamp(0), 3), b"xxx");
        assert_eq!(replay.piece(replay.end(), 3), b"");
    }
}
