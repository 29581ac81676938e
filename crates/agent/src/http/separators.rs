//! Texts in JSON that clients read line by line.

/// What some clients take for the end of a line (U+0085, U+2028, U+2029) can only be within texts.
pub(crate) fn separators_escape(out: &mut Vec<u8>, begin: usize) {
    let mut at = begin;
    while let Some(found) = memchr::memchr2(0xC2, 0xE2, &out[at..]) {
        at += found;
        let (length, escaped) = match &out[at..] {
            [0xC2, 0x85, ..] => (2, b"\\u0085"),
            [0xE2, 0x80, 0xA8, ..] => (3, b"\\u2028"),
            [0xE2, 0x80, 0xA9, ..] => (3, b"\\u2029"),
            _ => {
                at += 1;
                continue;
            }
        };
        out.splice(at..at + length, escaped.iter().copied());
    }
}

/// Appends a text as it stands within a JSON string, without the quotes around it, and without what some clients take
/// for the end of a line.
pub(crate) fn json_text_push(out: &mut Vec<u8>, text: &str) {
    let begin = out.len();
    // Writing to memory does not fail, and neither does a text.
    let _ = serde_json::to_writer(&mut *out, text);
    out.pop();
    out.remove(begin);
    separators_escape(out, begin);
}
