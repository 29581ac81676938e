//! Cuts a stream of bytes into lines.
//!
//! Pure bookkeeping: it must not know where they come from or go to.

/// The longest line that is kept together; a longer one is cut.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;

/// The beginning of a line whose end has not come.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes bytes and calls `each` with every line that is complete, its newline included. A line that is cut has
    /// none, and is not cut within a character.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.begun.is_empty() && piece.ends_with(b"\n") {
                each(piece);
                continue;
            }
            self.begun.extend_from_slice(piece);
            if self.begun.ends_with(b"\n") {
                each(&self.begun);
                self.begun.clear();
            }
            while self.begun.len() >= LINE_BYTES_MAX {
                let cut = character_end(&self.begun, LINE_BYTES_MAX);
                each(&self.begun[..cut]);
                self.begun.drain(..cut);
            }
        }
    }

    /// What came after the last newline.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.begun)
    }
}

/// The last place up to `end` where no UTF-8 character is cut.
fn character_end(bytes: &[u8], end: usize) -> usize {
    let is_continued = |index: &usize| bytes.get(*index).is_some_and(|byte| byte & 0xC0 == 0x80);
    // What goes on for longer is no UTF-8.
    (end.saturating_sub(3)..=end).rev().find(|index| !is_continued(index)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| all.push(line.to_vec()));
        }
        all.push(lines.rest());
        all
    }

    #[test]
    fn lines_come_whole_however_they_were_read() {
        assert_eq!(cut(&[b"a\n\nb"]), [&b"a\n"[..], b"\n", b"b"]);
        assert_eq!(cut(&[b"a", b"b\nc", b"\n"]), [&b"ab\n"[..], b"c\n", b""]);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let mut text = vec![b'x'; LINE_BYTES_MAX - 1];
        text.extend("ä!".as_bytes());
        let all = cut(&[&text]);
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_BYTES_MAX - 1, 3]);
        assert_eq!(cut(&[&[0x80; LINE_BYTES_MAX]]).len(), 2);
    }
}
