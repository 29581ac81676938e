//! Output bytes between the pipe they were read from and the connection they go to.
//!
//! Pure bookkeeping: it must not know pipes, connections or time.

use std::{collections::VecDeque, io::IoSlice};

/// The most bytes of one stream that wait in the agent. With a follower the program is slowed when they are
/// full; without one the oldest give way.
pub(crate) const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// The bytes of one stream: those that wait, behind those that were passed on and are retained.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    held: VecDeque<u8>,
    /// How many of them were passed on.
    passed_on: usize,
    /// How many more bytes the stream may pass on; `None` is without end.
    allowance: Option<u64>,
    retain_max: usize,
    dropped_bytes: u64,
    /// Bytes that were passed on and are not retained: another follower misses them.
    let_go_bytes: u64,
}

impl Backlog {
    /// One that passes on the stream's first `output_bytes_max` bytes and drops what follows, and retains the last
    /// `retain_bytes` of what it has passed on.
    pub(crate) fn new(output_bytes_max: Option<u64>, retain_bytes: u64) -> Self {
        let retain_max = usize::try_from(retain_bytes).unwrap_or(usize::MAX);
        Self { allowance: output_bytes_max, retain_max, ..Self::default() }
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
        self.held.extend(passed);
        // What is retained of a stream may as well wait there.
        let waiting_max = BACKLOG_BYTES_MAX.max(self.retain_max);
        let dropped = self.len().saturating_sub(waiting_max);
        if dropped > 0 {
            self.oldest_drop(self.passed_on + dropped);
        }
        self.trim();
    }

    /// Counts bytes that were dropped before they could be pushed.
    pub(crate) fn count_dropped(&mut self, bytes: u64) {
        self.dropped_bytes += bytes;
    }

    /// Whether `bytes` more push nothing out.
    pub(crate) fn takes(&self, bytes: usize) -> bool {
        self.is_capped() || self.len() + bytes <= BACKLOG_BYTES_MAX
    }

    /// Whether the stream's maximum is reached, so that all that follows is dropped.
    pub(crate) fn is_capped(&self) -> bool {
        self.allowance == Some(0)
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.held.len() - self.passed_on
    }

    /// How many bytes wait or are retained.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Bytes of the stream that were or will not be passed on.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// The oldest `length` bytes that wait, in two parts.
    pub(crate) fn front(&self, length: usize) -> [IoSlice<'_>; 2] {
        let (first, second) = self.held.as_slices();
        let (first, second) = match self.passed_on.checked_sub(first.len()) {
            None => (&first[self.passed_on..], second),
            Some(of_second) => (&second[of_second..], &[][..]),
        };
        let first = &first[..first.len().min(length)];
        let second = &second[..second.len().min(length - first.len())];
        [IoSlice::new(first), IoSlice::new(second)]
    }

    /// The oldest `length` bytes that wait were passed on.
    pub(crate) fn consume(&mut self, length: usize) {
        self.passed_on += length;
        self.trim();
    }

    /// Another follower comes: what is retained waits for it.
    pub(crate) fn begin_again(&mut self) {
        self.passed_on = 0;
        self.dropped_bytes += std::mem::take(&mut self.let_go_bytes);
    }

    /// Drops all that waits or is retained.
    pub(crate) fn clear(&mut self) {
        self.oldest_drop(self.held.len());
        self.held = VecDeque::new();
    }

    /// Lets go of the oldest that were passed on, until no more than is to be retained is held beside what waits.
    fn trim(&mut self) {
        let excess = self.held.len().saturating_sub(self.retain_max);
        self.oldest_drop(excess.min(self.passed_on));
    }

    fn oldest_drop(&mut self, length: usize) {
        self.held.drain(..length);
        let let_go = length.min(self.passed_on);
        self.passed_on -= let_go;
        self.let_go_bytes += let_go as u64;
        self.dropped_bytes += (length - let_go) as u64;
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
        let mut backlog = Backlog::new(None, 0);
        backlog.push(b"hello ");
        backlog.push(b"world");
        backlog.consume(3);
        assert_eq!(content(&backlog), b"lo world");
        assert_eq!(backlog.dropped_bytes(), 0);
    }

    #[test]
    fn over_the_maximum_the_newest_are_dropped_and_counted() {
        let mut backlog = Backlog::new(Some(4), 0);
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
        let mut backlog = Backlog::new(None, 0);
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
        let mut backlog = Backlog::new(Some(10), 0);
        backlog.push(b"abc");
        backlog.clear();
        assert_eq!((backlog.len(), backlog.dropped_bytes()), (0, 3));
    }
    #[test]
    fn what_is_retained_comes_again_for_another_follower() {
        let mut backlog = Backlog::new(Some(20), 8);
        backlog.push(b"0123");
        backlog.consume(3);
        backlog.push(b"456789");
        assert_eq!(content(&backlog), b"3456789");
        backlog.begin_again();
        assert_eq!((content(&backlog).as_slice(), backlog.dropped_bytes()), (&b"23456789"[..], 2));
        backlog.consume(8);
        backlog.begin_again();
        assert_eq!((backlog.len(), backlog.dropped_bytes()), (8, 2), "once");
        backlog.consume(8);
        backlog.push(b"abcde");
        backlog.consume(5);
        assert_eq!((backlog.len(), backlog.held_bytes(), backlog.dropped_bytes()), (0, 8, 2));
        backlog.begin_again();
        assert_eq!((content(&backlog).as_slice(), backlog.dropped_bytes()), (&b"789abcde"[..], 7));
        backlog.clear();
        assert_eq!((backlog.held_bytes(), backlog.dropped_bytes()), (0, 15));
    }

    #[test]
    fn more_waits_where_more_is_retained() {
        let mut backlog = Backlog::new(None, 1 << 20);
        backlog.push(&vec![1; 1 << 20]);
        assert_eq!((backlog.len(), backlog.dropped_bytes()), (1 << 20, 0));
        assert!(!backlog.takes(1), "a follower is still waited for");
        backlog.push(&[2; 10]);
        assert_eq!((backlog.len(), backlog.dropped_bytes()), (1 << 20, 10));
    }
}
