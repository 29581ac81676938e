//! A terminal before which a client sits: a task of its own, which shows what comes and types what is sent. When the
//! connection is gone it keeps the terminal for a while, for a page that is loaded again; then it hangs it up.

use std::{sync::Arc, time::Duration};

use engine::{TerminalEvent, TerminalReader, TerminalWriter};
use futures::FutureExt;
use protocol::agent::{ExitStatus, TerminalSize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use super::{message, out::Out, text::OutputText};

/// What is typed to all terminals of a connection and was not read yet.
const TYPED_BYTES_MAX: usize = 1 << 20;
/// Messages that wait to be typed into one terminal.
const TYPED_MAX: usize = 256;
/// Bytes of a message at which nothing is added to it.
const MESSAGE_BYTES: usize = 128 << 10;
/// How long a terminal that is hung up is waited for.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// What is done with a terminal beside typing.
enum Act {
    Resize(TerminalSize),
    Close,
}

struct Typed {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// The way to a terminal's task. Dropped, the terminal is kept for a while.
pub(super) struct Seat {
    typed: mpsc::Sender<Typed>,
    acts: mpsc::Sender<Act>,
}

/// Room for what is typed over one connection.
pub(super) fn typing_room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TYPED_BYTES_MAX))
}

impl Seat {
    /// Types something; an error if the program has not read what was typed before.
    pub(super) fn input(&self, data: String, room: &Arc<Semaphore>) -> Result<(), &'static str> {
        const FULL: &str = "The terminal's program does not read what is typed; this was not typed";
        let bytes = u32::try_from(data.len()).map_err(|_| FULL)?;
        let room = Arc::clone(room).try_acquire_many_owned(bytes).map_err(|_| FULL)?;
        self.typed.try_send(Typed { bytes: data.into_bytes(), _room: room }).map_err(|_| FULL)
    }

    /// Gives it another size.
    pub(super) async fn resize(&self, size: TerminalSize) {
        let _ = self.acts.send(Act::Resize(size)).await;
    }

    /// Hangs it up. Its end is told as usual.
    pub(super) async fn close(&self) {
        let _ = self.acts.send(Act::Close).await;
    }
}

/// What a terminal's task needs to know.
pub(super) struct Sitting {
    /// What the client calls the terminal.
    pub(super) name: String,
    pub(super) out: Out,
    /// Told when the client does not sit there any more.
    pub(super) left: mpsc::UnboundedSender<Left>,
    /// How long it is kept after its connection.
    pub(super) keep: Duration,
}

/// A client does not sit before a terminal any more.
pub(super) struct Left {
    pub(super) name: String,
    /// Somebody else sits there now, or the session has ended.
    pub(super) detached: bool,
}

enum Shown {
    Ended(ExitStatus),
    Detached,
    /// The connection is gone.
    Gone,
}

/// Sits down before a terminal.
pub(super) fn sit(reader: TerminalReader, writer: TerminalWriter, sitting: Sitting) -> Seat {
    let (typed, typed_out) = mpsc::channel(TYPED_MAX);
    let (acts, acts_out) = mpsc::channel(1);
    tokio::spawn(attend(reader, writer, sitting, typed_out, acts_out));
    Seat { typed, acts }
}

async fn attend(
    mut reader: TerminalReader,
    mut writer: TerminalWriter,
    sitting: Sitting,
    typed: mpsc::Receiver<Typed>,
    acts: mpsc::Receiver<Act>,
) {
    let Sitting { name, out, left, keep } = sitting;
    let shown = tokio::select! {
        shown = show(&mut reader, &name, &out) => shown,
        () = serve(&mut writer, &name, &out, typed, acts) => Shown::Gone,
    };
    match shown {
        Shown::Ended(status) => {
            if let Ok(place) = out.place().await {
                place.send(message::exit(&name, status));
            }
            let _ = left.send(Left { name, detached: false });
        }
        Shown::Detached => drop(left.send(Left { name, detached: true })),
        Shown::Gone => {
            // Nothing of the connection is held meanwhile.
            drop((out, left));
            linger(reader, &writer, keep).await;
        }
    }
}

/// Shows what comes, no faster than the client reads: while it does not, nothing is taken from the terminal.
async fn show(reader: &mut TerminalReader, name: &str, out: &Out) -> Shown {
    let mut text = OutputText::new(name);
    loop {
        let mut next = reader.next().await;
        let Ok(place) = out.place().await else { return Shown::Gone };
        // What came while it waited for its place goes with it.
        let end = loop {
            match next {
                Ok(TerminalEvent::Output(bytes)) => text.push(&bytes),
                Ok(TerminalEvent::Ended(status)) => break Some(Shown::Ended(status)),
                Ok(TerminalEvent::Detached) | Err(_) => break Some(Shown::Detached),
            }
            if text.len() >= MESSAGE_BYTES {
                break None;
            }
            match reader.next().now_or_never() {
                Some(event) => next = event,
                None => break None,
            }
        };
        if end.is_some() {
            text.end();
        }
        if let Some(message) = text.take() {
            place.send(message);
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Types and does what the client asks for, until its connection is gone.
async fn serve(
    writer: &mut TerminalWriter,
    name: &str,
    out: &Out,
    mut typed: mpsc::Receiver<Typed>,
    mut acts: mpsc::Receiver<Act>,
) {
    loop {
        let act = tokio::select! {
            biased;
            act = acts.recv() => act,
            piece = typed.recv() => match piece {
                None => return,
                // A program that does not read must not keep its terminal from being closed.
                Some(piece) => match type_or_act(writer, &piece.bytes, &mut acts).await {
                    Typing::Done => continue,
                    Typing::Failed => return std::future::pending().await,
                    Typing::Act(act) => act,
                },
            },
        };
        let done = match act {
            None => return,
            Some(Act::Resize(size)) => writer.resize(size).await,
            Some(Act::Close) => writer.close().await,
        };
        if let Err(error) = done {
            out.answer(message::error(error.public(), Some(name))).await;
        }
    }
}

enum Typing {
    Done,
    /// Its end shows elsewhere.
    Failed,
    /// Something is asked for before all was typed: the end of the terminal or of the connection.
    Act(Option<Act>),
}

async fn type_or_act(writer: &mut TerminalWriter, bytes: &[u8], acts: &mut mpsc::Receiver<Act>) -> Typing {
    let mut resized = None;
    let typed = {
        let mut typing = std::pin::pin!(writer.input(bytes));
        loop {
            tokio::select! {
                biased;
                typed = &mut typing => break typed,
                act = acts.recv() => match act {
                    // It gets its size when it reads again.
                    Some(Act::Resize(size)) => resized = Some(size),
                    act => return Typing::Act(act),
                },
            }
        }
    };
    match (typed, resized) {
        (Err(_), _) => Typing::Failed,
        (Ok(()), Some(size)) => Typing::Act(Some(Act::Resize(size))),
        (Ok(()), None) => Typing::Done,
    }
}

/// Keeps a terminal for whoever sits down before it next. What it shows meanwhile is kept by the agent.
async fn linger(mut reader: TerminalReader, writer: &TerminalWriter, keep: Duration) {
    let over =
        async |reader: &mut TerminalReader| while let Ok(TerminalEvent::Output(_)) = reader.next().await {};
    if timeout(keep, over(&mut reader)).await.is_ok() {
        return;
    }
    match writer.close().await {
        Ok(()) => drop(timeout(END_PATIENCE, over(&mut reader)).await),
        Err(error) => tracing::debug!(?error, "a terminal that was left could not be closed"),
    }
}
