//! Joins an exec to the connection that follows it: output and end to the connection, input from it.
//!
//! What is read from a backlog leaves it only when the socket has taken it, so a connection that breaks
//! loses nothing that was not sent, and the agent holds no second copy. What is retained of an exec stays, and its
//! end too: only another follower can tell that the one before did not live to make use of it.

use std::{io::IoSlice, rc::Rc};

use protocol::{
    agent::Event,
    frame::{Header, Kind, STREAM_BYTES},
};

use super::state::{Exec, OutputStream};
use crate::{
    agent::Agent,
    wire::{FrameReader, FrameWriter, WireError},
};

/// How following ended.
pub(crate) enum Followed {
    /// The end was delivered, and the exec forgotten unless it is retained.
    Collected,
    /// Another connection follows now; this one must be closed.
    Replaced,
}

/// The place of the one follower, held by a connection.
pub(super) struct Follower {
    agent: Rc<Agent>,
    pub(super) exec: Rc<Exec>,
    pub(super) ticket: u64,
}

impl Follower {
    /// Takes the place of whoever followed before.
    pub(super) fn new(agent: &Rc<Agent>, exec: &Rc<Exec>) -> Self {
        Self { agent: Rc::clone(agent), exec: Rc::clone(exec), ticket: exec.follower_set() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if self.exec.follower_clear(self.ticket) && self.agent.execs.find(self.exec.id).is_some() {
            self.agent.execs.kept_add(&self.exec);
        }
    }
}

/// Follows an exec to its end, in the place of whoever followed it before.
///
/// # Errors
/// [`WireError`] when the connection can't be used any more; the exec goes on without it.
pub(crate) async fn exec_follow(
    agent: &Rc<Agent>,
    exec: &Rc<Exec>,
    reader: &mut FrameReader<'_>,
    writer: FrameWriter<'_>,
) -> Result<Followed, WireError> {
    let follower = Follower::new(agent, exec);
    let mut output = std::pin::pin!(output_send(&follower, writer));
    let mut input = std::pin::pin!(input_feed(exec, reader));
    let both = async {
        let mut input_ended = false;
        loop {
            tokio::select! {
                sent = &mut output => return sent,
                fed = &mut input, if !input_ended => {
                    fed?;
                    input_ended = true;
                }
            }
        }
    };
    tokio::select! {
        // Who was replaced must not send another byte: it would be missing on the new connection.
        biased;
        () = exec.follower_replaced(follower.ticket) => Ok(Followed::Replaced),
        sent = both => sent.map(|()| Followed::Collected),
    }
}

/// Sends what the program writes until its end was sent.
async fn output_send(follower: &Follower, writer: FrameWriter<'_>) -> Result<(), WireError> {
    let exec = &follower.exec;
    writer.event(&Event::ExecStarted { pid: exec.pid }).await?;
    loop {
        let changed = exec.output_changed();
        let mut is_empty = true;
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let length = exec.backlog(stream).len().min(STREAM_BYTES);
            if length > 0 {
                is_empty = false;
                frame_send(exec, writer, stream, length).await?;
            }
        }
        if !is_empty {
            continue;
        }
        if let Some(end) = exec.end() {
            writer.event(&Event::ExecEnded(end)).await?;
            if !exec.is_retained {
                follower.agent.execs.forget(exec.id);
            }
            return Ok(());
        }
        changed.await;
    }
}

/// Sends the oldest `length` bytes of a stream as one frame.
async fn frame_send(
    exec: &Exec,
    writer: FrameWriter<'_>,
    stream: OutputStream,
    length: usize,
) -> Result<(), WireError> {
    let kind = match stream {
        OutputStream::Stdout => Kind::Output,
        OutputStream::Stderr => Kind::ErrorOutput,
    };
    let header = Header { kind, payload_bytes: length }.encode()?;
    let mut header = &header[..];
    let mut left = length;
    while left > 0 {
        writer.writable().await?;
        let sent = {
            let backlog = exec.backlog(stream);
            let [first, second] = backlog.front(left);
            writer.try_write(&[IoSlice::new(header), first, second])?
        };
        let of_header = sent.min(header.len());
        header = &header[of_header..];
        if sent > of_header {
            exec.output_consume(stream, sent - of_header);
            left -= sent - of_header;
        }
    }
    Ok(())
}

/// Feeds input frames to the program. Returns at the end of what the client may send: the next request,
/// which stays unread, or the end of the connection's reading side.
async fn input_feed(exec: &Exec, reader: &mut FrameReader<'_>) -> Result<(), WireError> {
    while let Some(header) = reader.header().await? {
        match header.kind {
            Kind::Message => {
                reader.hold(header);
                return Ok(());
            }
            Kind::Input => loop {
                let piece = reader.piece().await?;
                if piece.is_empty() {
                    break;
                }
                let taken = exec.stdin_write(piece).await;
                reader.consume(taken);
            },
            Kind::InputEnd => exec.stdin_close(),
            kind @ (Kind::Output | Kind::ErrorOutput) => return Err(WireError::Unexpected(kind)),
        }
    }
    Ok(())
}
