//! Replaces a text by another in a stream of bytes.
//!
//! Pure bookkeeping: it must not know files.

use memchr::memmem::Finder;

/// How much comes out at once; more only by one replacement and what was before it.
const PORTION_BYTES: usize = 256 << 10;

/// A replacement that has come to some place.
pub(super) struct Substitution<'a> {
    finder: Finder<'a>,
    new: &'a [u8],
    held: Vec<u8>,
    /// How much of it has come out.
    taken: usize,
    pub(super) count: u64,
}

impl<'a> Substitution<'a> {
    /// `old` must not be empty.
    pub(super) fn new(old: &'a [u8], new: &'a [u8]) -> Self {
        Self { finder: Finder::new(old), new, held: Vec::new(), taken: 0, count: 0 }
    }

    /// Takes bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..std::mem::take(&mut self.taken));
        self.held.extend_from_slice(bytes);
    }

    /// What is certain by now, a portion at a time; empty when more must come.
    pub(super) fn portion(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < PORTION_BYTES {
            let open = &self.held[self.taken..];
            let Some(found) = self.finder.find(open) else {
                // The end may be the beginning of the text.
                let certain = (open.len() + 1).saturating_sub(self.finder.needle().len());
                out.extend_from_slice(&open[..certain]);
                self.taken += certain;
                break;
            };
            out.extend_from_slice(&open[..found]);
            out.extend_from_slice(self.new);
            self.count += 1;
            self.taken += found + self.finder.needle().len();
        }
        out
    }

    /// What is left at the end.
    pub(super) fn rest(&self) -> &[u8] {
        &self.held[self.taken..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn however_it_is_cut_it_is_what_replacing_the_whole_gives(
            text in "[ab]{0,40}", old in "[ab]{1,4}", new in "[abc]{0,4}", size in 1..9_usize
        ) {
            let mut substitution = Substitution::new(old.as_bytes(), new.as_bytes());
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                substitution.push(piece);
                out.extend(substitution.portion());
                prop_assert!(substitution.portion().is_empty());
            }
            out.extend(substitution.rest());
            prop_assert_eq!(String::from_utf8(out).unwrap(), text.replace(&old, &new));
            prop_assert_eq!(substitution.count, text.matches(&old).count() as u64);
        }
    }
}
