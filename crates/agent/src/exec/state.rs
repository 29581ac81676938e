//! One exec, as its tasks share it: the pumps that read its output, the connection that follows it, the
//! reaper that learns its end.
//!
//! It must not know where bytes come from or go to; it keeps them and says when something changed.

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    io,
    os::unix::process::ExitStatusExt,
    process::ExitStatus as WaitStatus,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{
    ExecId,
    agent::{ExecEnd, ExecSpec, ExitStatus},
};
use tokio::{net::unix::pipe, sync::Notify};

use super::{
    backlog::Backlog,
    mark::Mark,
    output::{OutputGauge, Source},
    spawn::Spawned,
    terminal::Terminal,
};
use crate::sys::EndedChild;

/// Which of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where what is sent to a program goes.
pub(crate) enum Input {
    /// Its standard input alone.
    Pipe(pipe::Sender),
    /// Its terminal.
    Terminal(Rc<Terminal>),
}

/// An exec.
pub(crate) struct Exec {
    pub(crate) id: ExecId,
    /// Its main process, until it is reaped; then only a number that may be another's.
    pub(crate) pid: i32,
    pub(crate) mark: Mark,
    /// Whether it is kept for another follower when one was told its end.
    pub(crate) is_retained: bool,
    started: Instant,
    stdout: RefCell<Backlog>,
    stderr: RefCell<Backlog>,
    /// What of both is in the pipes still.
    gauges: [OutputGauge; 2],
    input: RefCell<Option<Rc<Input>>>,
    exit: Cell<Option<(EndedChild, Instant)>>,
    timed_out: Cell<bool>,
    finished: Cell<bool>,
    /// The ticket of the connection that follows; tickets only grow.
    follower: Cell<Option<u64>>,
    tickets: Cell<u64>,
    /// Output came, or the exec finished.
    output_changed: Notify,
    /// A backlog was emptied, or the follower left.
    room_changed: Notify,
    process_exited: Notify,
    follower_changed: Notify,
}

impl Exec {
    /// Takes the input of what was started.
    pub(crate) fn new(spec: &ExecSpec, mark: Mark, spawned: &mut Spawned) -> Self {
        let Spawned { pid, ends } = spawned;
        let stderr_gauge = ends.stderr.as_ref().map(Source::gauge).unwrap_or_default();
        Self {
            id: spec.id,
            pid: *pid,
            mark,
            is_retained: spec.retain_bytes > 0,
            started: Instant::now(),
            stdout: RefCell::new(Backlog::new(spec.output_bytes_max, spec.retain_bytes)),
            stderr: RefCell::new(Backlog::new(spec.output_bytes_max, spec.retain_bytes)),
            gauges: [ends.stdout.gauge(), stderr_gauge],
            input: RefCell::new(ends.input.take().map(Rc::new)),
            exit: Cell::new(None),
            timed_out: Cell::new(false),
            finished: Cell::new(false),
            follower: Cell::new(None),
            tickets: Cell::new(0),
            output_changed: Notify::new(),
            room_changed: Notify::new(),
            process_exited: Notify::new(),
            follower_changed: Notify::new(),
        }
    }

    // The process.

    /// The reaper's word that the main process has ended.
    pub(crate) fn set_exited(&self, ended: EndedChild) {
        self.exit.set(Some((ended, Instant::now())));
        self.process_exited.notify_waiters();
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exit.get().is_some()
    }

    /// How long ago the main process ended; `None` while it runs.
    pub(crate) fn exited_ago(&self) -> Option<Duration> {
        self.exit.get().map(|(_, at)| at.elapsed())
    }

    /// Waits until the main process has ended.
    pub(crate) async fn exited(&self) {
        let exited = self.process_exited.notified();
        if !self.has_exited() {
            exited.await;
        }
    }

    pub(crate) fn set_timed_out(&self) {
        self.timed_out.set(true);
    }

    /// The process and its output have ended.
    pub(crate) fn finish(&self) {
        self.input.take();
        self.finished.set(true);
        self.output_changed.notify_waiters();
    }

    /// How it ended, once it is finished.
    pub(crate) fn end(&self) -> Option<ExecEnd> {
        let (ended, at) = self.exit.get().filter(|_| self.finished.get())?;
        let status = WaitStatus::from_raw(ended.wait_status);
        Some(ExecEnd {
            status: match status.signal() {
                Some(signal) => ExitStatus::Signaled(signal),
                None => ExitStatus::Exited(status.code().unwrap_or_default()),
            },
            timed_out: self.timed_out.get(),
            stdout_dropped_bytes: self.stdout.borrow().dropped_bytes(),
            stderr_dropped_bytes: self.stderr.borrow().dropped_bytes(),
            wall_us: duration_us(at.duration_since(self.started)),
            cpu_us: duration_us(ended.cpu),
            rss_bytes_max: ended.rss_bytes_max,
        })
    }

    /// Waits until it is finished.
    pub(crate) async fn ended(&self) -> ExecEnd {
        loop {
            let changed = self.output_changed();
            if let Some(end) = self.end() {
                return end;
            }
            changed.await;
        }
    }

    // Its output.

    /// What waits of a stream.
    pub(crate) fn backlog(&self, stream: OutputStream) -> Ref<'_, Backlog> {
        self.backlog_cell(stream).borrow()
    }

    /// Changes a stream's backlog, then wakes the follower.
    pub(crate) fn output_add(&self, stream: OutputStream, change: impl FnOnce(RefMut<'_, Backlog>)) {
        change(self.backlog_cell(stream).borrow_mut());
        self.output_changed.notify_waiters();
    }

    /// The oldest bytes of a stream were passed on.
    pub(crate) fn output_consume(&self, stream: OutputStream, bytes: usize) {
        self.backlog_cell(stream).borrow_mut().consume(bytes);
        self.room_changed.notify_waiters();
    }

    /// Drops what waits or is retained of both streams.
    pub(crate) fn output_clear(&self) {
        self.stdout.borrow_mut().clear();
        self.stderr.borrow_mut().clear();
    }

    /// How many bytes wait or are retained.
    pub(crate) fn output_bytes(&self) -> usize {
        self.stdout.borrow().held_bytes() + self.stderr.borrow().held_bytes()
    }

    /// How many bytes of a stream were written and not passed on: in its backlog, and in its pipe
    /// if it has one.
    pub(crate) fn output_written(&self, stream: OutputStream) -> usize {
        let [stdout, stderr] = &self.gauges;
        let gauge = match stream {
            OutputStream::Stdout => stdout,
            OutputStream::Stderr => stderr,
        };
        self.backlog(stream).len() + gauge.bytes()
    }

    /// Waits until output comes or the exec finishes, beginning with the call, not with the first poll.
    pub(crate) fn output_changed(&self) -> impl Future<Output = ()> {
        self.output_changed.notified()
    }

    /// Waits until `bytes` of a stream may be read: there is room, or nobody for whom to wait, or they would
    /// be dropped anyway.
    pub(crate) async fn room(&self, stream: OutputStream, bytes: usize) {
        loop {
            let changed = self.room_changed.notified();
            if !self.is_followed() || self.backlog(stream).takes(bytes) {
                return;
            }
            changed.await;
        }
    }

    fn backlog_cell(&self, stream: OutputStream) -> &RefCell<Backlog> {
        match stream {
            OutputStream::Stdout => &self.stdout,
            OutputStream::Stderr => &self.stderr,
        }
    }

    // Its input.

    /// Passes bytes to the program's input and returns how many were taken: all of them when the program
    /// has none, or reads no more.
    pub(crate) async fn stdin_write(&self, bytes: &[u8]) -> usize {
        let input = self.input.borrow().clone();
        let written = match input.as_deref() {
            None => return bytes.len(),
            Some(Input::Pipe(pipe)) => pipe_write(pipe, bytes).await,
            Some(Input::Terminal(terminal)) => terminal.write(bytes).await,
        };
        written.unwrap_or_else(|_| {
            self.stdin_close();
            bytes.len()
        })
    }

    /// Ends the standard input. A terminal has no end: it is typed there.
    pub(crate) fn stdin_close(&self) {
        self.input.borrow_mut().take_if(|input| matches!(**input, Input::Pipe(_)));
    }

    /// Its terminal, if it has one and has not finished.
    pub(crate) fn terminal(&self) -> Option<Rc<Terminal>> {
        match self.input.borrow().as_deref() {
            Some(Input::Terminal(terminal)) => Some(Rc::clone(terminal)),
            _ => None,
        }
    }

    // Its follower.

    /// Whether a connection follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.follower.get().is_some()
    }

    /// Makes the caller the follower, in the place of another. Returns its ticket.
    pub(crate) fn follower_set(&self) -> u64 {
        self.stdout.borrow_mut().begin_again();
        self.stderr.borrow_mut().begin_again();
        let ticket = self.tickets.get() + 1;
        self.tickets.set(ticket);
        self.follower.set(Some(ticket));
        self.follower_changed.notify_waiters();
        ticket
    }

    /// Nobody follows any more, if it was still the holder of this ticket. Returns whether it was.
    pub(crate) fn follower_clear(&self, ticket: u64) -> bool {
        let current = self.follower.get() == Some(ticket);
        if current {
            self.follower.set(None);
            self.room_changed.notify_waiters();
        }
        current
    }

    /// Waits until another has taken the place of this ticket's holder.
    pub(crate) async fn follower_replaced(&self, ticket: u64) {
        loop {
            let changed = self.follower_changed.notified();
            if self.follower.get() != Some(ticket) {
                return;
            }
            changed.await;
        }
    }
}

async fn pipe_write(pipe: &pipe::Sender, bytes: &[u8]) -> io::Result<usize> {
    loop {
        pipe.writable().await?;
        match pipe.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
    }
}

fn duration_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
