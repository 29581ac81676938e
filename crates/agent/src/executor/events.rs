//! Output as server-sent events: one for each line, whichever stream it came from.
//!
//! A line of any length is one event, and takes no more memory than [`LINE_HELD_BYTES`]: a longer one is passed on while
//! it comes. What the other stream writes meanwhile waits for its end; should that be more than [`OTHER_HELD_BYTES`], so
//! that the program could have to wait, the long line is cut.

use serde::Serialize;

use super::utf8::Utf8;
use crate::exec::OutputStream;

/// How much of a line is held until its end.
const LINE_HELD_BYTES: usize = 1 << 20;
/// How much is held of a stream while a line of the other is passed on.
const OTHER_HELD_BYTES: usize = 4 << 20;

/// Appends an event.
pub(super) fn event_push(out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    // It fails for types that JSON lacks, and for writers that fail; neither is here.
    let _ = serde_json::to_writer(&mut *out, data);
    out.extend(b"\n\n");
}

/// Makes events of lines.
pub(super) struct LineEvents {
    /// Writes an event's begin, up to its text.
    begin: fn(&mut Vec<u8>, &'static str),
    /// What is held of each stream.
    held: [Vec<u8>; 2],
    open: Option<Open>,
}

/// A line that is passed on while it comes.
struct Open {
    stream: OutputStream,
    text: Utf8,
    /// Carriage returns that may be the line's last.
    returns: usize,
}

impl LineEvents {
    /// `begin` writes the begin of an event of a stream's line, up to its text, which two braces end.
    pub(super) fn new(begin: fn(&mut Vec<u8>, &'static str)) -> Self {
        Self { begin, held: Default::default(), open: None }
    }

    /// Whether nothing was written of an event whose end is still to be written.
    pub(super) fn is_between(&self) -> bool {
        self.open.is_none()
    }

    /// Takes output, and appends what can be sent of it.
    pub(super) fn push(&mut self, stream: OutputStream, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        if let Some(open) = &mut self.open {
            if open.stream == stream {
                let (line, after) = line_split(rest);
                open.push(line, out);
                rest = after;
                if !line.ends_with(b"\n") {
                    return;
                }
                self.close(out);
            } else {
                let held = &mut self.held[stream as usize];
                held.extend_from_slice(rest);
                if held.len() <= OTHER_HELD_BYTES {
                    return;
                }
                rest = b"";
                self.close(out);
            }
        }
        self.lines_push(stream, rest, out);
        let other = match stream {
            OutputStream::Stdout => OutputStream::Stderr,
            OutputStream::Stderr => OutputStream::Stdout,
        };
        self.lines_push(other, b"", out);
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            self.close(out);
            self.lines_push(stream, b"", out);
            self.close(out);
            let rest = std::mem::take(&mut self.held[stream as usize]);
            if !rest.is_empty() {
                self.line_push(stream, &rest, out);
            }
        }
    }

    /// The lines of what is held and comes now, unless a line is passed on.
    fn lines_push(&mut self, stream: OutputStream, bytes: &[u8], out: &mut Vec<u8>) {
        if self.open.is_some() {
            self.held[stream as usize].extend_from_slice(bytes);
            return;
        }
        let mut held = std::mem::take(&mut self.held[stream as usize]);
        let all = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(bytes);
            &held
        };
        let mut rest = all;
        while let (line, after) = line_split(rest)
            && line.ends_with(b"\n")
        {
            self.line_push(stream, line, out);
            rest = after;
        }
        if rest.len() > LINE_HELD_BYTES {
            (self.begin)(out, name_of(stream));
            let mut open = Open { stream, text: Utf8::default(), returns: 0 };
            open.push(rest, out);
            self.open = Some(open);
        } else {
            self.held[stream as usize] = rest.to_vec();
        }
    }

    fn line_push(&self, stream: OutputStream, line: &[u8], out: &mut Vec<u8>) {
        (self.begin)(out, name_of(stream));
        let mut text = Utf8::default();
        text.push(without_end(line), out);
        text.end(out);
        out.extend(EVENT_END);
    }

    /// Ends the event of a line that was passed on.
    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(mut open) = self.open.take() {
            open.text.end(out);
            out.extend(EVENT_END);
        }
    }
}

const EVENT_END: &[u8] = b"\"}\n\n";

impl Open {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let text = without_end(bytes);
        if !text.is_empty() {
            self.text.push("\r".repeat(std::mem::take(&mut self.returns)).as_bytes(), out);
            self.text.push(text, out);
        }
        self.returns += bytes[text.len()..].iter().filter(|byte| **byte == b'\r').count();
    }
}

fn name_of(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    }
}

/// The first line with its end, and what comes after it.
fn line_split(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1))
}

fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    &line[..end]
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use OutputStream::{Stderr, Stdout};

    fn events(pieces: &[(OutputStream, &[u8])]) -> Vec<(String, String)> {
        let begin = |out: &mut Vec<u8>, stream: &'static str| {
            out.extend(format!("data: {{\"stream\":\"{stream}\",\"data\":\"").bytes());
        };
        let (mut lines, mut out) = (LineEvents::new(begin), Vec::new());
        for (stream, bytes) in pieces {
            lines.push(*stream, bytes, &mut out);
        }
        lines.end(&mut out);
        let text = String::from_utf8(out).unwrap();
        let events = text.split_terminator("\n\n");
        let value =
            |event: &str| -> Value { serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap() };
        let texts = |value: Value| {
            (value["stream"].as_str().unwrap().to_owned(), value["data"].as_str().unwrap().to_owned())
        };
        events.map(|event| texts(value(event))).collect()
    }

    fn is(found: &[(String, String)], expected: &[(&str, &str)]) {
        let found: Vec<_> = found.iter().map(|(stream, text)| (stream.as_str(), text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        is(
            &events(&[(Stdout, b"a\r\n\n b\tc \nlast")]),
            &[("stdout", "a"), ("stdout", ""), ("stdout", " b\tc "), ("stdout", "last")],
        );
        is(
            &events(&[(Stdout, b"a"), (Stderr, b"x\n"), (Stdout, b"b\n")]),
            &[("stderr", "x"), ("stdout", "ab")],
        );
        is(
            &events(&[(Stdout, b"a\rb\r"), (Stdout, b"\n\xff")]),
            &[("stdout", "a\rb"), ("stdout", "\u{fffd}")],
        );
        is(&events(&[]), &[]);
    }

    #[test]
    fn a_long_line_is_one_event_and_the_other_stream_waits_for_it() {
        let long = "ä".repeat(LINE_HELD_BYTES);
        let (first, second) = long.as_bytes().split_at(LINE_HELD_BYTES + 101);
        let found = events(&[
            (Stdout, b"before\n"),
            (Stdout, first),
            (Stderr, b"meanwhile\nbegun"),
            (Stdout, second),
            (Stdout, b"\r"),
            (Stdout, b"!\r\r"),
            (Stdout, b"\nafter"),
        ]);
        let line = format!("{long}\r!");
        is(
            &found,
            &[
                ("stdout", "before"),
                ("stdout", &line),
                ("stderr", "meanwhile"),
                ("stdout", "after"),
                ("stderr", "begun"),
            ],
        );
    }

    #[test]
    fn a_long_line_is_cut_where_the_other_stream_could_stall() {
        let long = vec![b'x'; LINE_HELD_BYTES + 1];
        let much = [vec![b'z'; (64 << 10) - 1], vec![b'\n']].concat().repeat((OTHER_HELD_BYTES >> 16) + 1);
        let found = events(&[(Stdout, &long), (Stderr, &much), (Stdout, b"y\n")]);
        assert_eq!(found.len(), 1 + (much.len() >> 16) + 1);
        assert_eq!((found[0].1.len(), found[0].0.as_str()), (long.len(), "stdout"));
        assert_eq!(found.last().unwrap(), &("stdout".to_owned(), "y".to_owned()));
    }
}
