//! One session: a place for a shell that clients come to and leave, and what was shown there.
//!
//! It must not know WebSockets. One client *holds* it: only as fast as that one reads does the program go on. Any number
//! of others *view* it, and miss what they are too slow for.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use protocol::{ExecId, agent::TerminalSize};
use tokio::sync::Notify;

use super::replay::Replay;
use crate::{
    agent::Agent,
    exec::{
        Exec, OutputStream, Tap, Tapped, exec_interrupt, exec_resize, exec_signal, exec_signal_foreground,
    },
    execd::{
        events::exit_code,
        run::{Before, Run, run_start_before, shell_argvs},
    },
    http::HttpError,
    sys::number,
};

/// How much of what the holder was not sent yet may wait before the program does.
const UNSENT_BYTES_MAX: u64 = 256 << 10;
/// The same in pieces that alternate between two streams.
const UNSENT_RUNS_MAX: usize = 1024;
/// How much is sent in one message.
const PIECE_BYTES: usize = 64 << 10;

/// A session.
pub(super) struct Session {
    pub(super) id: ExecId,
    cwd: Option<String>,
    command: Option<String>,
    size: Cell<TerminalSize>,
    /// Its program while that runs.
    exec: RefCell<Option<Rc<Exec>>>,
    is_starting: Cell<bool>,
    has_terminal: Cell<bool>,
    launch: Cell<Launch>,
    last_exit: Cell<i32>,
    /// Whether the holder of another time may have gone without being told the end.
    is_exit_untold: Cell<bool>,
    output: RefCell<Output>,
    holder: Cell<Option<u64>>,
    tickets: Cell<u64>,
    is_removed: Cell<bool>,
    /// Output came, or the program ended or started, or the holder changed.
    changed: Notify,
    /// The holder was sent something, or left.
    room: Notify,
}

/// What became of the attempts to start a program.
#[derive(Clone, Copy, Default)]
pub(super) struct Launch {
    pub(super) was_attempted: bool,
    pub(super) has_failed: bool,
}

/// What was written, and how far the holder is.
#[derive(Default)]
struct Output {
    replay: Replay,
    /// Where the holder goes on.
    sent: u64,
    /// Where what was written before it came ends.
    replay_end: u64,
    /// By which stream each byte after that came.
    runs: VecDeque<(OutputStream, usize)>,
}

impl Output {
    /// Whether the holder keeps up.
    fn has_room(&self) -> bool {
        self.replay.end() - self.sent < UNSENT_BYTES_MAX && self.runs.len() < UNSENT_RUNS_MAX
    }
}

/// Bytes for a client.
pub(super) enum Piece {
    /// Written before it came, from this offset.
    Replay(u64, Vec<u8>),
    /// Written since.
    Live(OutputStream, Vec<u8>),
}

/// The time until a program has started, however that ends.
struct Starting<'a>(&'a Session);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.is_starting.set(false);
        self.0.changed.notify_waiters();
    }
}

impl Session {
    pub(super) fn new(id: ExecId, cwd: Option<String>, command: Option<String>, size: TerminalSize) -> Self {
        Self {
            id,
            cwd,
            command,
            size: Cell::new(size),
            exec: RefCell::new(None),
            is_starting: Cell::new(false),
            has_terminal: Cell::new(true),
            launch: Cell::default(),
            last_exit: Cell::new(-1),
            is_exit_untold: Cell::new(false),
            output: RefCell::default(),
            holder: Cell::new(None),
            tickets: Cell::new(0),
            is_removed: Cell::new(false),
            changed: Notify::new(),
            room: Notify::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.exec.borrow().is_some()
    }

    pub(super) fn is_held(&self) -> bool {
        self.holder.get().is_some()
    }

    pub(super) fn launch(&self) -> Launch {
        self.launch.get()
    }

    /// How many bytes its programs have written.
    pub(super) fn output_end(&self) -> u64 {
        self.output.borrow().replay.end()
    }

    /// How many of them are kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.output.borrow().replay.len()
    }

    pub(super) fn mode(&self) -> &'static str {
        if self.has_terminal.get() { "pty" } else { "pipe" }
    }

    /// Waits until there may be something new, beginning with the call, not with the first poll.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        self.changed.notified()
    }

    // Its program.

    /// Starts the program, unless one runs, or has ended without anybody being told.
    ///
    /// # Errors
    /// Why it could not be started.
    pub(super) async fn start(self: &Rc<Self>, agent: &Rc<Agent>, terminal: bool) -> Result<(), HttpError> {
        loop {
            let changed = self.changed();
            if self.is_running() || self.is_exit_untold.get() {
                return Ok(());
            }
            if !self.is_starting.get() {
                break;
            }
            changed.await;
        }
        self.is_starting.set(true);
        let starting = Starting(self);
        let run = Run {
            argvs: match &self.command {
                Some(command) => shell_argvs(command),
                None => ["bash", "sh"].map(|shell| vec![shell.to_owned()]).to_vec(),
            },
            cwd: self.cwd.clone(),
            timeout: None,
            uid: None,
            gid: None,
            envs: BTreeMap::new(),
        };
        let before = if terminal { Before::Terminal(self.size.get()) } else { Before::Pipes };
        let started = run_start_before(agent, run, before).await;
        self.launch.set(Launch { was_attempted: true, has_failed: started.is_err() });
        let exec = started?;
        self.has_terminal.set(terminal);
        *self.exec.borrow_mut() = Some(Rc::clone(&exec));
        drop(starting);
        let tap = Tap::new(agent, &exec);
        tokio::task::spawn_local(output_keep(Rc::clone(agent), Rc::clone(self), Rc::clone(&exec), tap));
        if self.is_removed.get() {
            exec_interrupt(agent, &exec);
        }
        Ok(())
    }

    /// Ends the program if one runs, and lets none start.
    pub(super) fn remove(&self, agent: &Rc<Agent>) {
        self.is_removed.set(true);
        if let Some(exec) = &*self.exec.borrow() {
            exec_interrupt(agent, exec);
        }
    }

    /// Passes bytes to the program and returns how many were taken.
    pub(super) async fn input(&self, bytes: &[u8]) -> usize {
        let exec = self.exec.borrow().clone();
        match exec {
            Some(exec) => exec.stdin_write(bytes).await,
            None => bytes.len(),
        }
    }

    /// Gives the terminal another size, this one's and those to come.
    pub(super) fn resize(&self, agent: &Agent, size: TerminalSize) {
        self.size.set(size);
        if let Some(exec) = &*self.exec.borrow() {
            // Without a terminal there is nothing to resize, which upstream takes no offence at either.
            let _ = exec_resize(agent, exec.id, size);
        }
    }

    /// Signals what runs in the foreground as a key would, or for other signals all that runs.
    pub(super) async fn signal(&self, agent: &Agent, signal: i32) {
        let Some(exec) = self.exec.borrow().clone() else { return };
        match signal {
            number::SIGINT | number::SIGQUIT => exec_signal_foreground(agent, &exec, signal),
            _ => {
                // It fails when the program has ended meanwhile.
                let _ = exec_signal(agent, exec.id, signal).await;
            }
        }
    }

    /// Waits until more output may come: there is room, or nobody for whom to wait.
    async fn room(&self) {
        loop {
            let changed = self.room.notified();
            if !self.is_held() || self.output.borrow().has_room() {
                return;
            }
            changed.await;
        }
    }

    fn output_add(&self, stream: OutputStream, bytes: &[u8]) {
        let mut output = self.output.borrow_mut();
        output.replay.push(bytes);
        if self.is_held() {
            match output.runs.back_mut() {
                Some((of, length)) if *of == stream => *length += bytes.len(),
                _ => output.runs.push_back((stream, bytes.len())),
            }
        }
        self.changed.notify_waiters();
    }

    // Its clients.

    /// What a viewer that is at `offset` is to be sent next.
    pub(super) fn view(&self, offset: &mut u64) -> Option<Piece> {
        let output = self.output.borrow();
        *offset = output.replay.clamp(*offset);
        let begin = *offset;
        let bytes = output.replay.piece(begin, PIECE_BYTES);
        *offset += bytes.len() as u64;
        (!bytes.is_empty()).then_some(Piece::Replay(begin, bytes))
    }

    /// The exit code, once nothing runs or starts.
    pub(super) fn exit(&self) -> Option<i32> {
        (!self.is_running() && !self.is_starting.get()).then(|| self.last_exit.get())
    }
}

/// Keeps what a program writes, until it has ended.
async fn output_keep(agent: Rc<Agent>, session: Rc<Session>, exec: Rc<Exec>, mut tap: Tap) {
    let end = loop {
        session.room().await;
        match tap.next().await {
            Tapped::Output(stream, bytes) => session.output_add(stream, &bytes),
            Tapped::Ended(end) => break exit_code(&end),
            Tapped::Replaced => break -1,
        }
    };
    agent.execs.forget(exec.id);
    session.exec.take();
    session.last_exit.set(end);
    session.is_exit_untold.set(true);
    session.changed.notify_waiters();
    agent.execd.ptys.ended_add(&session);
}

/// The place of the one client that holds a session.
pub(super) struct Holder {
    session: Rc<Session>,
    ticket: u64,
}

impl Holder {
    /// Takes the place, from another if need be. What was written from `since` on comes again.
    pub(super) fn new(session: &Rc<Session>, since: u64) -> Self {
        let mut output = session.output.borrow_mut();
        output.sent = output.replay.clamp(since);
        output.replay_end = output.replay.end();
        output.runs.clear();
        let ticket = session.tickets.get() + 1;
        session.tickets.set(ticket);
        session.holder.set(Some(ticket));
        session.changed.notify_waiters();
        session.room.notify_waiters();
        Self { session: Rc::clone(session), ticket }
    }

    /// Waits until another has taken the place.
    pub(super) async fn replaced(&self) {
        loop {
            let changed = self.session.changed();
            if self.session.holder.get() != Some(self.ticket) {
                return;
            }
            changed.await;
        }
    }

    /// What is to be sent next.
    pub(super) fn next(&self) -> Option<Piece> {
        let output = &mut *self.session.output.borrow_mut();
        let begin = output.sent;
        let piece = if begin < output.replay_end {
            let left = usize::try_from(output.replay_end - begin).unwrap_or(PIECE_BYTES);
            Piece::Replay(begin, output.replay.piece(begin, left.min(PIECE_BYTES)))
        } else {
            let (stream, length) = *output.runs.front()?;
            let bytes = output.replay.piece(begin, length.min(PIECE_BYTES));
            match output.runs.front_mut() {
                Some((_, left)) if *left > bytes.len() => *left -= bytes.len(),
                _ => drop(output.runs.pop_front()),
            }
            Piece::Live(stream, bytes)
        };
        let (Piece::Replay(_, bytes) | Piece::Live(_, bytes)) = &piece;
        output.sent += bytes.len() as u64;
        self.session.room.notify_waiters();
        Some(piece)
    }

    /// Whether something is still to be sent of what was written before.
    pub(super) fn is_behind(&self) -> bool {
        let output = self.session.output.borrow();
        output.sent < output.replay_end
    }

    /// The end was told.
    pub(super) fn exit_told(&self) {
        self.session.is_exit_untold.set(false);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.session.holder.get() == Some(self.ticket) {
            self.session.holder.set(None);
            self.session.output.borrow_mut().runs.clear();
            self.session.room.notify_waiters();
        }
    }
}
