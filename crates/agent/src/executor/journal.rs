//! What a process has written, as the events that clients are sent: in a file without a name, whose begin is given back
//! to the disk when it has got long.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fs::File,
    os::unix::fs::FileExt,
    rc::Rc,
    sync::Arc,
};

use protocol::agent::Failure;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::Notify;

use crate::{
    agent::Agent,
    failure::failure_os,
    files::scratch_file,
    http::{Gone, PIECE_BYTES, Pieces, piece_read},
};

/// How much is kept at least, if there is so much.
const KEPT_BYTES_MIN: u64 = 64 << 20;
/// How much is kept at most: a line that is longer, or where the disk takes nothing back. What comes then is dropped.
const KEPT_BYTES_MAX: u64 = 512 << 20;
/// How far apart the places are from which the events that are kept can begin.
const MARK_BYTES: u64 = 1 << 20;

/// The events of one process.
pub(super) struct Journal {
    file: Arc<File>,
    /// Where what is kept begins, and ends.
    begin: Cell<u64>,
    end: Cell<u64>,
    /// Places at which an event begins.
    marks: RefCell<VecDeque<u64>>,
    is_full: Cell<bool>,
    has_ended: Cell<bool>,
    changed: Notify,
}

impl Journal {
    /// # Errors
    /// As [`scratch_file`].
    pub(super) async fn create(agent: &Agent) -> Result<Self, Failure> {
        Ok(Self {
            file: Arc::new(agent.files.run(scratch_file).await?),
            begin: Cell::new(0),
            end: Cell::new(0),
            marks: RefCell::default(),
            is_full: Cell::new(false),
            has_ended: Cell::new(false),
            changed: Notify::new(),
        })
    }

    /// Adds events, or a part of one: `is_whole` says that the next one begins after it.
    pub(super) async fn append(&self, agent: &Agent, bytes: Vec<u8>, is_whole: bool) {
        let end = self.end.get();
        if bytes.is_empty() || self.is_full.get() {
            return;
        }
        let begin = self.begin_find(end);
        let (file, given_back, after) = (Arc::clone(&self.file), self.begin.get(), end + bytes.len() as u64);
        let write = move || {
            if begin > given_back {
                // Where the disk can't, the file goes on growing up to its limit.
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&*file, flags, given_back, begin - given_back)
                    .map_err(|errno| failure_os("give back a log's begin", &errno.into()))?;
            }
            file.write_all_at(&bytes, end).map_err(|error| failure_os("write a log", &error))
        };
        if after - begin > KEPT_BYTES_MAX || agent.files.run(write).await.is_err() {
            self.is_full.set(true);
            return;
        }
        self.begin.set(begin);
        self.end.set(after);
        if is_whole && after - self.marks.borrow().back().copied().unwrap_or(begin) >= MARK_BYTES {
            self.marks.borrow_mut().push_back(after);
        }
        self.changed.notify_waiters();
    }

    /// Where what is kept is to begin from now on.
    fn begin_find(&self, end: u64) -> u64 {
        let mut begin = self.begin.get();
        let mut marks = self.marks.borrow_mut();
        while let Some(&mark) = marks.front()
            && end - mark > KEPT_BYTES_MIN
        {
            begin = mark;
            marks.pop_front();
        }
        begin
    }

    /// Nothing more comes.
    pub(super) fn finish(&self) {
        self.has_ended.set(true);
        self.changed.notify_waiters();
    }

    /// Sends what is kept, then what comes, until the end.
    ///
    /// # Errors
    /// [`Gone`], also for a client that is so slow that it would miss something.
    pub(super) async fn send(self: Rc<Self>, agent: &Agent, pieces: &Pieces) -> Result<(), Gone> {
        let mut offset = self.begin.get();
        loop {
            let changed = self.changed.notified();
            let left = self.end.get() - offset;
            if offset < self.begin.get() {
                return Err(Gone);
            }
            if left == 0 {
                if self.has_ended.get() {
                    return Ok(());
                }
                changed.await;
                continue;
            }
            let length = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let file = Arc::clone(&self.file);
            let piece = agent.files.run(move || piece_read(&file, offset, length)).await.map_err(|_| Gone)?;
            // What was given back while it was read, reads as zeros.
            if piece.is_empty() || offset < self.begin.get() {
                return Err(Gone);
            }
            offset += piece.len() as u64;
            pieces.send(piece).await?;
        }
    }
}
