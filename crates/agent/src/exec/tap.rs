//! An exec's output and end for another part of the agent than a connection: taken in pieces, one at a time.
//!
//! It must not know what becomes of them. While a piece is held and none is asked for, the program is slowed.

use std::rc::Rc;

use protocol::{agent::ExecEnd, frame::STREAM_BYTES};

use super::{
    follow::Follower,
    state::{Exec, OutputStream},
};
use crate::agent::Agent;

/// The place of an exec's follower. When it is dropped, the exec goes on without one.
pub(crate) struct Tap(Follower);

/// What comes next of an exec.
pub(crate) enum Tapped {
    /// Bytes of one of its streams.
    Output(OutputStream, Vec<u8>),
    /// Nothing any more, since all output was taken.
    Ended(ExecEnd),
    /// Another follows now.
    Replaced,
}

impl Tap {
    /// Takes the place of whoever followed the exec before.
    pub(crate) fn new(agent: &Rc<Agent>, exec: &Rc<Exec>) -> Self {
        Self(Follower::new(agent, exec))
    }

    /// Waits for what comes next. Who gives up waiting loses nothing.
    pub(crate) async fn next(&mut self) -> Tapped {
        let exec = &self.0.exec;
        loop {
            let changed = exec.output_changed();
            for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                let piece = piece_take(exec, stream);
                if !piece.is_empty() {
                    return Tapped::Output(stream, piece);
                }
            }
            if let Some(end) = exec.end() {
                return Tapped::Ended(end);
            }
            tokio::select! {
                biased;
                () = exec.follower_replaced(self.0.ticket) => return Tapped::Replaced,
                () = changed => {}
            }
        }
    }
}

fn piece_take(exec: &Exec, stream: OutputStream) -> Vec<u8> {
    let piece: Vec<u8> = {
        let backlog = exec.backlog(stream);
        backlog.front(backlog.len().min(STREAM_BYTES)).map(|part| part.to_vec()).concat()
    };
    if !piece.is_empty() {
        exec.output_consume(stream, piece.len());
    }
    piece
}
