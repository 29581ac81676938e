//! The latest lines that a sandbox's program wrote.

use std::collections::VecDeque;

use jiff::Timestamp;

/// A line of output, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read.
    pub at: Timestamp,
    /// Where it was written to.
    pub stream: LogStream,
    /// What was written; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes of text that are kept for each sandbox.
const BYTES_MAX: usize = 256 << 10;
/// The same, of what a program writes.
pub(crate) const LOG_BYTES: u64 = BYTES_MAX as u64;
/// A longer line is cut into pieces.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Keeps the latest lines of one sandbox.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Starts of lines whose end was not written yet.
    open: [Vec<u8>; 2],
}

impl Log {
    /// Takes output as it comes.
    pub(crate) fn write(&mut self, stream: LogStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let open = &mut self.open[stream as usize];
            let room = LINE_BYTES_MAX.saturating_sub(open.len()).min(bytes.len());
            match bytes[..room].iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    open.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.close(stream);
                }
                None => {
                    open.extend_from_slice(&bytes[..room]);
                    bytes = &bytes[room..];
                    if open.len() >= LINE_BYTES_MAX {
                        self.close(stream);
                    }
                }
            }
        }
    }

    /// Ends lines that the program left open: it has ended.
    pub(crate) fn finish(&mut self) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if !self.open[stream as usize].is_empty() {
                self.close(stream);
            }
        }
    }

    /// The latest lines, oldest first.
    pub(crate) fn tail(&self, lines: usize) -> Vec<LogLine> {
        let from = self.lines.len().saturating_sub(lines);
        self.lines.range(from..).cloned().collect()
    }

    fn close(&mut self, stream: LogStream) {
        let bytes = std::mem::take(&mut self.open[stream as usize]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.bytes += text.len();
        self.lines.push_back(LogLine { at: Timestamp::now(), stream, text });
        while self.bytes > BYTES_MAX {
            let Some(line) = self.lines.pop_front() else { break };
            self.bytes -= line.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(log: &Log) -> Vec<String> {
        log.tail(usize::MAX).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let mut log = Log::default();
        log.write(LogStream::Stdout, b"a");
        log.write(LogStream::Stderr, b"x\ny");
        log.write(LogStream::Stdout, b"b\n\nc");
        assert_eq!(texts(&log), ["x", "ab", ""]);
        log.finish();
        assert_eq!(texts(&log), ["x", "ab", "", "c", "y"]);
        assert_eq!(log.tail(2).len(), 2);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut log = Log::default();
        for _ in 0..100 {
            log.write(LogStream::Stdout, &[b'z'; 10_000]);
        }
        log.finish();
        let kept: usize = texts(&log).iter().map(String::len).sum();
        assert!(kept <= BYTES_MAX && kept > BYTES_MAX / 2, "{kept}");
    }
}
