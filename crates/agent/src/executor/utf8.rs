//! Bytes that come in pieces, as text within JSON: what is no UTF-8 is replaced, characters across pieces are kept.

use std::str;

use crate::http::json_text_push;

/// What comes in place of bytes that are no text.
const REPLACEMENT: &str = "\u{FFFD}";

/// The begin of a character whose end has not come.
#[derive(Default)]
pub(super) struct Utf8(Vec<u8>);

impl Utf8 {
    /// Appends what can be said of the bytes so far.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let joined;
        let mut rest = bytes;
        if !self.0.is_empty() {
            joined = [std::mem::take(&mut self.0).as_slice(), bytes].concat();
            rest = &joined;
        }
        loop {
            match str::from_utf8(rest) {
                Ok(text) => return json_text_push(out, text),
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    json_text_push(out, str::from_utf8(valid).unwrap_or_default());
                    let Some(wrong) = error.error_len() else {
                        self.0 = after.to_vec();
                        return;
                    };
                    json_text_push(out, REPLACEMENT);
                    rest = &after[wrong..];
                }
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.0).is_empty() {
            json_text_push(out, REPLACEMENT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_same_text_as_the_whole() {
        let cases: [&[u8]; 6] = [
            b"plain",
            "ä€😀\"\\\u{2028}\n".as_bytes(),
            b"a\xff\xfeb",
            b"\xe2\x82",
            b"\xe2\x82x\xf0\x9f\x98",
            b"",
        ];
        for bytes in cases {
            let expected = String::from_utf8_lossy(bytes);
            for size in 1..=bytes.len().max(1) {
                let (mut utf8, mut out) = (Utf8::default(), b"\"".to_vec());
                bytes.chunks(size).for_each(|piece| utf8.push(piece, &mut out));
                utf8.end(&mut out);
                out.push(b'"');
                assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), expected, "{size}");
            }
        }
    }
}
