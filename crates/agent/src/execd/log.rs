//! What a background command has written, line by line, in a file without a name: it counts as disk, not as memory,
//! and is gone with the agent.

use std::{cell::RefCell, fs::File, os::unix::fs::FileExt, rc::Rc, sync::Arc};

use protocol::agent::Failure;

use super::lines::Lines;
use crate::{
    agent::Agent,
    exec::{OutputStream, Tap, Tapped},
    failure::failure_os,
    files::scratch_file,
    http::{HttpError, Outgoing, PIECE_BYTES, file_body, piece_read},
};

/// What one log may take of the disk. What comes then is dropped.
const LOG_BYTES_MAX: u64 = 256 << 20;
/// How far apart the places are from which lines are counted.
const MARK_BYTES: u64 = 256 << 10;

/// A log.
pub(super) struct Log {
    file: Arc<File>,
    written: RefCell<Written>,
}

#[derive(Default)]
struct Written {
    bytes: u64,
    lines: u64,
    /// Lines and bytes before places that are not too far apart.
    marks: Vec<(u64, u64)>,
    is_full: bool,
}

impl Log {
    /// Makes an empty one.
    ///
    /// # Errors
    /// As [`scratch_file`].
    pub(super) async fn create(agent: &Agent) -> Result<Self, Failure> {
        let file = Arc::new(agent.files.run(scratch_file).await?);
        Ok(Self { file, written: RefCell::default() })
    }

    /// Takes an exec's output to its end. Each stream's lines stay whole.
    pub(super) async fn follow(&self, agent: &Agent, mut tap: Tap) {
        let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
        loop {
            let mut batch = Vec::new();
            match tap.next().await {
                Tapped::Output(OutputStream::Stdout, bytes) => stdout.push(&bytes, |line| batch.extend(line)),
                Tapped::Output(OutputStream::Stderr, bytes) => stderr.push(&bytes, |line| batch.extend(line)),
                Tapped::Ended(_) => {
                    for rest in [stdout.rest(), stderr.rest()] {
                        if !rest.is_empty() {
                            batch.extend(rest);
                            batch.push(b'\n');
                        }
                    }
                    return self.append(agent, batch).await;
                }
                Tapped::Replaced => return,
            }
            self.append(agent, batch).await;
        }
    }

    async fn append(&self, agent: &Agent, batch: Vec<u8>) {
        let (offset, is_full) = {
            let written = self.written.borrow();
            (written.bytes, written.is_full)
        };
        if batch.is_empty() || is_full {
            return;
        }
        let (bytes, lines) = (batch.len() as u64, memchr::memchr_iter(b'\n', &batch).count() as u64);
        let file = Arc::clone(&self.file);
        let write =
            move || file.write_all_at(&batch, offset).map_err(|error| failure_os("write a log", &error));
        let is_written = offset + bytes <= LOG_BYTES_MAX && agent.files.run(write).await.is_ok();
        let mut written = self.written.borrow_mut();
        if !is_written {
            // What follows would have a gap before it.
            written.is_full = true;
            return;
        }
        written.bytes += bytes;
        written.lines += lines;
        if written.bytes - written.marks.last().map_or(0, |(_, bytes)| *bytes) >= MARK_BYTES {
            let mark = (written.lines, written.bytes);
            written.marks.push(mark);
        }
    }

    /// What follows the first `cursor` lines, and how many lines there are now.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) async fn read(&self, agent: &Rc<Agent>, cursor: u64) -> Result<(Outgoing, u64), HttpError> {
        let (end, lines, mark) = {
            let written = self.written.borrow();
            let before = written.marks.partition_point(|(lines, _)| *lines <= cursor);
            let mark = before.checked_sub(1).map_or((0, 0), |index| written.marks[index]);
            (written.bytes, written.lines, mark)
        };
        let offset = if cursor >= lines { end } else { self.offset_find(agent, mark, cursor).await? };
        Ok((file_body(agent, Arc::clone(&self.file), offset, end - offset), lines))
    }

    /// Where line `cursor` begins, looked for from a mark on.
    async fn offset_find(&self, agent: &Agent, mark: (u64, u64), cursor: u64) -> Result<u64, Failure> {
        let (mut line, mut offset) = mark;
        while line < cursor {
            let file = Arc::clone(&self.file);
            let piece = agent.files.run(move || piece_read(&file, offset, PIECE_BYTES)).await?;
            if piece.is_empty() {
                break;
            }
            let wanted = usize::try_from(cursor - line).unwrap_or(usize::MAX);
            let mut newlines = memchr::memchr_iter(b'\n', &piece);
            match newlines.nth(wanted - 1) {
                Some(newline) => return Ok(offset + newline as u64 + 1),
                None => line += memchr::memchr_iter(b'\n', &piece).count() as u64,
            }
            offset += piece.len() as u64;
        }
        Ok(offset)
    }
}
