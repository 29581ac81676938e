//! Output bytes between the pipe they were read from and the connection they go to.
//!
//! Pure bookkeeping: it must not know pipes, connections or time.

use std::{collections::VecDeque, io::IoSlice};

/// The most bytes of one stream that wait in the agent. With a follower the program is slowed when they are
/// full; without one the oldest give way.
pub(crate) const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// The bytes of one stream that wait.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<u8>,
    /// How many more bytes the stream may pass on; `None` is without end.
    allowance: Option<u64>,
    dropped_bytes: u64,
}

impl Backlog {
    /// One that passes on the stream's first `output_bytes_max` bytes and drops what follows.
    pub(crate) fn new(output_bytes_max: Option<u64>) -> Self {
        Self { allowance: output_bytes_max, ..Self::default() }
    }

    /// Adds bytes at the end. What is over the stream's maximum is dropped; what is over the backlog's own
    /// pushes out the oldest.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut passed = bytes;
        if let Some(allowance) = &mut self.allowance {
            let length =
                usize::try_from(*allowance).map_or(bytes.len(), |allowance| allowance.min(bytes.len()));
            passed = &bytes[..length];
            *allowance -= length as u64;
            self.dropped_bytes += (bytes.len() - length) as u64;
        }
        let kept = &passed[passed.len().saturating_sub(BACKLOG_BYTES_MAX)..];
        let oldest = (self.waiting.len() + kept.len()).saturating_sub(BACKLOG_BYTES_MAX);
        self.waiting.drain(..oldest);
        self.dropped_bytes += (oldest + passed.len() - kept.len()) as u64;
        self.waiting.extend(kept);
    }

    /// Counts bytes that were dropped before they could be pushed.
    pub(crate) fn count_dropped(&mut self, bytes: u64) {
        self.dropped_bytes += bytes;
    }

    /// Whether `bytes` more push nothing out.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.is_capped() || self.waiting.len() + bytes <= BACKLOG_BYTES_MAX
    }

    /// Whether the stream's maximum is reached, so that all that follows is dropped.
    pub(crate) fn is_capped(&self) -> bool {
        self.allowance == Some(0)
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the stream that were or will not be passed on.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// The oldest `length` bytes, in two parts.
    pub(crate) fn front(&self, length: usize) -> [IoSlice<'_>; 2] {
        let (first, second) = self.waiting.as_slices();
        let first = &first[..first.len().min(length)];
        let second = &second[..second.len().min(length - first.len())];
        [IoSlice::new(first), IoSlice::new(second)]
    }

    /// Takes the oldest `length` bytes away: they were passed on.
    pub(crate) fn consume(&mut self, length: usize) {
        self.waiting.drain(..length);
    }

    /// Drops all that waits.
    pub(crate) fn clear(&mut self) {
        self.dropped_bytes += self.waiting.len() as u64;
        self.waiting = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(backlog: &Backlog) -> Vec<u8> {
        backlog.front(backlog.len()).iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn bytes_come_out_in_order_and_once() {
        let mut backlog = Backlog::new(None);
        backlog.push(b"hello ");
        backlog.push(b"world");
        backlog.consume(3);
        assert_eq!(content(&backlog), b"lo world");
        assert_eq!(backlog.dropped_bytes(), 0);
    }

    #[test]
    fn over_the_maximum_the_newest_are_dropped_and_counted() {
        let mut backlog = Backlog::new(Some(4));
        backlog.push(b"abc");
        assert!(!backlog.is_capped());
        backlog.push(b"def");
        assert!(backlog.is_capped());
        backlog.push(b"ghi");
        backlog.count_dropped(10);
        assert_eq!(content(&backlog), b"abcd");
        assert_eq!(backlog.dropped_bytes(), 15);
    }

    #[test]
    fn over_the_backlog_the_oldest_are_dropped_and_counted() {
        let mut backlog = Backlog::new(None);
        backlog.push(&[1; 100]);
        assert!(!backlog.takes(BACKLOG_BYTES_MAX));
        backlog.push(&vec![2; BACKLOG_BYTES_MAX - 50]);
        assert_eq!(backlog.len(), BACKLOG_BYTES_MAX);
        assert_eq!(backlog.dropped_bytes(), 50);
        assert_eq!(content(&backlog)[..51], [[1; 50].as_slice(), &[2]].concat());
        backlog.push(&vec![3; BACKLOG_BYTES_MAX + 7]);
        assert_eq!(backlog.dropped_bytes(), 50 + BACKLOG_BYTES_MAX as u64 + 7);
        assert!(content(&backlog).iter().all(|byte| *byte == 3));
    }

    #[test]
    fn clearing_counts() {
        let mut backlog = Backlog::new(Some(10));
        backlog.push(b"abc");
        backlog.clear();
        assert_eq!((backlog.len(), backlog.dropped_bytes()), (0, 3));
    }
}
