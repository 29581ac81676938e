//! Output of a terminal as messages: bytes to JSON text. A character whose bytes come apart waits for the rest of them;
//! bytes that are no UTF-8 become U+FFFD.

/// One terminal's output on its way.
pub(super) struct OutputText {
    /// What every message begins with.
    head: String,
    /// The beginning of a character: at most three bytes.
    waiting: Vec<u8>,
    text: String,
}

/// What every message ends with.
const TAIL: &str = "\"}";

impl OutputText {
    /// Of this terminal, whose name needs no escapes.
    pub(super) fn new(terminal: &str) -> Self {
        let head = format!(r#"{{"type":"terminal:data","terminalId":"{terminal}","data":""#);
        Self { head, waiting: Vec::new(), text: String::new() }
    }

    /// Adds bytes to the message that is being made.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.waiting.is_empty() {
            return self.push_whole(bytes);
        }
        let mut joined = std::mem::take(&mut self.waiting);
        joined.extend_from_slice(bytes);
        self.push_whole(&joined);
    }

    fn push_whole(&mut self, bytes: &[u8]) {
        self.begin(bytes.len());
        let mut rest = bytes;
        loop {
            match str::from_utf8(rest) {
                Ok(text) => return self.escape(text),
                Err(error) => {
                    let (valid, other) = rest.split_at(error.valid_up_to());
                    // Valid as it was just found to be.
                    self.escape(str::from_utf8(valid).unwrap_or_default());
                    let Some(invalid) = error.error_len() else {
                        self.waiting.extend_from_slice(other);
                        return;
                    };
                    self.text.push(char::REPLACEMENT_CHARACTER);
                    rest = &other[invalid..];
                }
            }
        }
    }

    /// Says that nothing follows: what waits is no character any more.
    pub(super) fn end(&mut self) {
        if !self.waiting.is_empty() {
            self.waiting.clear();
            self.begin(0);
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn begin(&mut self, bytes: usize) {
        if self.text.is_empty() {
            self.text.reserve(self.head.len() + bytes + bytes / 16 + TAIL.len());
            self.text.push_str(&self.head);
        }
    }

    /// How long the message is so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The message, if there is anything in it.
    pub(super) fn take(&mut self) -> Option<String> {
        if self.text.len() <= self.head.len() {
            return None;
        }
        self.text.push_str(TAIL);
        Some(std::mem::take(&mut self.text))
    }

    /// Adds text with what JSON wants escaped (RFC 8259, section 7). What needs no escape is added in runs as long as
    /// they are.
    fn escape(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut from = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if !ESCAPED[usize::from(byte)] {
                continue;
            }
            // Escaped bytes are characters by themselves, so these are borders of characters.
            self.text.push_str(text.get(from..at).unwrap_or_default());
            from = at + 1;
            match byte {
                b'"' => self.text.push_str("\\\""),
                b'\\' => self.text.push_str("\\\\"),
                b'\n' => self.text.push_str("\\n"),
                b'\r' => self.text.push_str("\\r"),
                b'\t' => self.text.push_str("\\t"),
                _ => {
                    self.text.push_str("\\u00");
                    for digit in [byte >> 4, byte & 15] {
                        self.text.push(char::from(HEX[usize::from(digit)]));
                    }
                }
            }
        }
        self.text.push_str(text.get(from..).unwrap_or_default());
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Which bytes are escaped.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn data(message: Option<String>) -> String {
        let message: Value = serde_json::from_str(&message.unwrap()).unwrap();
        assert_eq!((&message["type"], &message["terminalId"]), (&"terminal:data".into(), &"t".into()));
        message["data"].as_str().unwrap().to_owned()
    }

    #[test]
    fn text_comes_as_it_was_in_whatever_pieces() {
        let all: String = (0..0x80_u8).map(char::from).chain("äß€😀\u{2028}\"\\ end".chars()).collect();
        for size in 1..9 {
            let (mut output, mut came) = (OutputText::new("t"), String::new());
            for piece in all.as_bytes().chunks(size) {
                output.push(piece);
                came.push_str(&output.take().map_or_else(String::new, |it| data(Some(it))));
            }
            output.end();
            assert_eq!(output.take(), None);
            assert_eq!(came, all, "{size}");
        }
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        let mut output = OutputText::new("t");
        output.push(b"a\xff\xfeb\xe2\x82c\xf0\x9f\x98");
        assert_eq!(data(output.take()), "a\u{fffd}\u{fffd}b\u{fffd}c");
        output.push(b"\x80!");
        assert_eq!(data(output.take()), "😀!");
        output.push(b"\xf0\x9f");
        assert_eq!(output.take(), None);
        output.end();
        assert_eq!(data(output.take()), "\u{fffd}");
    }
}
