//! Text from bytes that come in pieces: no piece ends within a character.

/// The beginning of a character whose end has not come.
#[derive(Default)]
pub(super) struct Cut(Vec<u8>);

impl Cut {
    /// What is whole of it. What is no UTF-8 is replaced.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let whole = self.0.len() - begun_bytes(&self.0);
        let text = String::from_utf8_lossy(&self.0[..whole]).into_owned();
        self.0.drain(..whole);
        text
    }

    /// What is left when nothing more comes.
    pub(super) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }
}

/// How many bytes at the end begin a character and do not end it.
fn begun_bytes(bytes: &[u8]) -> usize {
    for (count, byte) in (1..=3).zip(bytes.iter().rev()) {
        match byte {
            0x80..0xC0 => {}
            0xC2..0xF5 => {
                let wanted = match byte {
                    ..0xE0 => 2,
                    ..0xF0 => 3,
                    _ => 4,
                };
                return if wanted > count { count } else { 0 };
            }
            _ => return 0,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_they_were_read() {
        let text = "aé€🏝b";
        for at in 0..text.len() {
            let mut cut = Cut::default();
            let parts = [cut.push(&text.as_bytes()[..at]), cut.push(&text.as_bytes()[at..]), cut.rest()];
            assert_eq!(parts.concat(), text);
            assert_eq!(parts[2], "");
        }
    }

    #[test]
    fn what_is_no_character_is_replaced_and_held_by_nothing() {
        let mut cut = Cut::default();
        assert_eq!(cut.push(b"x\xff"), "x\u{fffd}");
        assert_eq!(cut.push(b"\x80\x80\x80\x80"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(cut.push(b"\xf0\x9f"), "");
        assert_eq!(cut.rest(), "\u{fffd}");
    }
}
