//! A client's WebSocket, from the handshake to the close: what it sends to the session, what the session shows to it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    convert::Infallible,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use hyper::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    frames::{self, Wish},
    session::{Holder, Piece, Session},
};
use crate::{
    agent::Agent,
    http::{Handshake, HttpError, Incoming, Query, Reply, WebSocket},
};

/// WebSockets at once.
const SOCKETS_MAX: usize = 512;
/// How often a client is asked whether it lives.
const PING: Duration = Duration::from_secs(30);
/// How long a client may neither say anything nor take anything.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long the end of a connection may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// How much of what a client typed waits for a program that does not read.
const TYPED_BYTES_MAX: usize = 1 << 20;
/// How many answers wait for a client that does not read.
const ANSWERS_MAX: usize = 16;
/// How often a viewer may try to do more than view.
const VIOLATIONS_MAX: u32 = 5;

/// What a client may do.
enum Role {
    Holder(Holder),
    Viewer,
}

/// Why a connection ends.
enum End {
    /// The client has gone.
    Gone,
    /// It is told so.
    Close(CloseCode, &'static str),
}

/// One of the [`SOCKETS_MAX`].
struct Place(Rc<Agent>);

impl Place {
    fn take(agent: &Rc<Agent>) -> Result<Self, HttpError> {
        let sockets = &agent.execd.ptys.sockets;
        if sockets.get() >= SOCKETS_MAX {
            let message = format!("{SOCKETS_MAX} clients are connected already");
            return Err(HttpError::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_REACHED", message));
        }
        sockets.set(sockets.get() + 1);
        Ok(Self(Rc::clone(agent)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let sockets = &self.0.execd.ptys.sockets;
        sockets.set(sockets.get() - 1);
    }
}

/// `GET /pty/{id}/ws?since=&pty=&takeover=&mode=`
pub(in crate::execd) fn attach(
    agent: &Rc<Agent>,
    id: &str,
    mut request: Incoming,
    query: &Query,
) -> Result<Reply, HttpError> {
    let session = agent.execd.ptys.find(id)?;
    let since = u64::try_from(query.parsed::<i64>("since")?.unwrap_or(0)).unwrap_or(0);
    let is_viewer = match query.text("mode") {
        None | Some("" | "holder") => false,
        Some("viewer") => true,
        Some(mode) => {
            return Err(HttpError::query(format!("the parameter `mode` is {mode:?}, not `viewer`")));
        }
    };
    if is_viewer && !session.is_running() {
        let message = format!("pty session {id} must be running before a viewer can attach");
        return Err(HttpError::new(StatusCode::CONFLICT, "VIEWER_REQUIRES_RUNNING_SESSION", message));
    }
    if !is_viewer && session.is_held() && query.text("takeover") != Some("1") {
        let message = format!("another client is already connected to pty session {id}");
        return Err(HttpError::new(StatusCode::CONFLICT, "ALREADY_CONNECTED", message));
    }
    let place = Place::take(agent)?;
    let (reply, handshake) = Handshake::accept(&mut request)?;
    // Nobody else gets a free place from now on; a taken one is left to its holder until the handshake is done.
    let holder = (!is_viewer && !session.is_held()).then(|| Holder::new(&session, since));
    let has_terminal = query.text("pty") != Some("0");
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let Some(mut websocket) = handshake.finish().await else { return };
        let role = match holder {
            _ if is_viewer => Role::Viewer,
            Some(holder) => Role::Holder(holder),
            None => Role::Holder(Holder::new(&session, since)),
        };
        let end =
            Socket { agent: &agent, session: &session, role, since }.serve(&mut websocket, has_terminal);
        let end = end.await;
        // Who ends slowly holds nothing any more.
        drop(place);
        close(websocket, end).await;
    });
    Ok(reply)
}

/// What is known of a connection.
struct Socket<'a> {
    agent: &'a Rc<Agent>,
    session: &'a Rc<Session>,
    role: Role,
    since: u64,
}

/// What the two directions of a connection tell each other.
#[derive(Default)]
struct Between {
    answers: RefCell<VecDeque<Message>>,
    typed: RefCell<VecDeque<Bytes>>,
    /// Something was put in or taken out.
    changed: Notify,
    /// When the client last said something; `None` while it is not listened to.
    heard: Cell<Option<Instant>>,
    /// When it last took something.
    took: Cell<Option<Instant>>,
}

impl Between {
    fn answer(&self, message: Message) {
        self.answers.borrow_mut().push_back(message);
        self.changed.notify_waiters();
    }

    /// Waits until no more of anything waits than may.
    async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            let typed: usize = self.typed.borrow().iter().map(Bytes::len).sum();
            if typed < TYPED_BYTES_MAX && self.answers.borrow().len() < ANSWERS_MAX {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the program has taken all that was typed.
    async fn typed_taken(&self) {
        loop {
            let changed = self.changed.notified();
            if self.typed.borrow().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Asks the client again and again whether it lives. Returns when it seems not to.
    async fn silence(&self) {
        loop {
            tokio::time::sleep(PING).await;
            let is_old = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() > SILENCE_MAX);
            if self.heard.get().is_some() && is_old(self.heard.get()) && is_old(self.took.get()) {
                return;
            }
            // Who does not take the last one is not sent another.
            if self.answers.borrow().is_empty() {
                self.answer(Message::Ping(Bytes::new()));
            }
        }
    }
}

impl Socket<'_> {
    async fn serve(self, websocket: &mut WebSocket, has_terminal: bool) -> End {
        let (mut sink, mut stream) = websocket.split();
        let between = Between::default();
        let replaced = async {
            match &self.role {
                Role::Holder(holder) => holder.replaced().await,
                Role::Viewer => std::future::pending().await,
            }
        };
        let served = async {
            if let Role::Holder(_) = self.role
                && let Err(reason) = self.session.start(self.agent, has_terminal).await
            {
                let _ = sink.send(frames::error("START_FAILED", reason.message())).await;
                return End::Close(CloseCode::Error, "the program could not be started");
            }
            tokio::select! {
                end = self.show(&between, &mut sink) => end,
                end = self.listen(&between, &mut stream) => end,
                never = self.feed(&between) => match never {},
                () = between.silence() => End::Gone,
            }
        };
        tokio::select! {
            biased;
            () = replaced => End::Close(CloseCode::Library(frames::CLOSE_TAKEN_OVER), "TAKEN_OVER"),
            end = served => end,
        }
    }

    /// Sends what is to be seen, until the program has ended or the client is gone.
    async fn show(&self, between: &Between, sink: &mut SplitSink<&mut WebSocket, Message>) -> End {
        let mut offset = self.since;
        let replay_end = self.session.output_end();
        let mut is_connected = false;
        loop {
            let (shown, told) = (self.session.changed(), between.changed.notified());
            let answer = between.answers.borrow_mut().pop_front();
            let message = if let Some(answer) = answer {
                between.changed.notify_waiters();
                answer
            } else if !is_connected && !self.is_behind(offset, replay_end) {
                is_connected = true;
                let role = if let Role::Holder(_) = self.role { "holder" } else { "viewer" };
                frames::connected(&self.session.id.to_string(), self.session.mode(), role)
            } else if let Some(piece) = self.piece(&mut offset) {
                match piece {
                    Piece::Replay(begin, bytes) => frames::replay(begin, &bytes),
                    Piece::Live(stream, bytes) => frames::output(stream, &bytes),
                }
            } else if let Some(code) = self.session.exit() {
                return self.exit_tell(sink, code).await;
            } else {
                tokio::select! {
                    () = shown => {}
                    () = told => {}
                }
                continue;
            };
            if sink.send(message).await.is_err() {
                return End::Gone;
            }
            between.took.set(Some(Instant::now()));
        }
    }

    async fn exit_tell(&self, sink: &mut SplitSink<&mut WebSocket, Message>, code: i32) -> End {
        if sink.send(frames::exit(code)).await.is_err() {
            return End::Gone;
        }
        if let Role::Holder(holder) = &self.role {
            holder.exit_told();
        }
        End::Close(CloseCode::Normal, "process exited")
    }

    /// Whether something is still to be sent of what was written before the client came.
    fn is_behind(&self, offset: u64, replay_end: u64) -> bool {
        match &self.role {
            Role::Holder(holder) => holder.is_behind(),
            Role::Viewer => offset < replay_end,
        }
    }

    fn piece(&self, offset: &mut u64) -> Option<Piece> {
        match &self.role {
            Role::Holder(holder) => holder.next(),
            Role::Viewer => self.session.view(offset),
        }
    }

    /// Does what the client asks for, until it is gone or must be sent away.
    async fn listen(&self, between: &Between, stream: &mut SplitStream<&mut WebSocket>) -> End {
        let mut violations = 0;
        let end = loop {
            between.heard.set(None);
            between.room().await;
            between.heard.set(Some(Instant::now()));
            let wish = match stream.next().await {
                Some(Ok(Message::Text(text))) => Some(frames::text_parse(&text)),
                Some(Ok(Message::Binary(bytes))) => frames::binary_parse(bytes),
                Some(Ok(_)) => None,
                Some(Err(error)) => break end_of(&error),
                None => break End::Gone,
            };
            match wish {
                None => {}
                Some(Err(reason)) => between.answer(frames::error("INVALID_FRAME", &reason)),
                Some(Ok(Wish::Ping)) => between.answer(frames::pong()),
                Some(Ok(_)) if matches!(self.role, Role::Viewer) => {
                    violations += 1;
                    if violations > VIOLATIONS_MAX {
                        break End::Close(CloseCode::Policy, "viewer connections are read-only");
                    }
                    between.answer(frames::error("READ_ONLY", "viewer connections are read-only"));
                }
                Some(Ok(Wish::Input(bytes))) => {
                    between.typed.borrow_mut().push_back(bytes);
                    between.changed.notify_waiters();
                }
                Some(Ok(Wish::Resize(size))) => self.session.resize(self.agent, size),
                Some(Ok(Wish::Signal(signal))) => self.session.signal(self.agent, signal).await,
            }
        };
        // What it typed last is still typed, if the program reads.
        let _ = timeout(CLOSE_MAX, between.typed_taken()).await;
        end
    }

    /// Passes on what was typed, as fast as the program takes it; all else goes on meanwhile.
    async fn feed(&self, between: &Between) -> Infallible {
        loop {
            let changed = between.changed.notified();
            let Some(bytes) = between.typed.borrow().front().cloned() else {
                changed.await;
                continue;
            };
            let taken = self.session.input(&bytes).await;
            let mut typed = between.typed.borrow_mut();
            match typed.front_mut() {
                Some(front) if taken < front.len() => front.advance(taken),
                _ => drop(typed.pop_front()),
            }
            drop(typed);
            between.changed.notify_waiters();
        }
    }
}

/// What a client is told that does not keep to the protocol.
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(CloseCode::Size, "messages are 1 MiB at most"),
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "a text message is no UTF-8"),
        Error::Protocol(_) => End::Close(CloseCode::Protocol, "the WebSocket protocol was violated"),
        _ => End::Gone,
    }
}

/// Says good-bye, and waits until it was heard: closed before that, the kernel could drop it.
async fn close(mut websocket: WebSocket, end: End) {
    let End::Close(code, reason) = end else { return };
    let parting = async move {
        websocket.close(Some(CloseFrame { code, reason: reason.into() })).await?;
        while let Some(Ok(_)) = websocket.next().await {}
        let io = websocket.get_mut();
        io.shutdown().await?;
        // What follows a message that was refused.
        let mut rest = [0; 4096];
        while io.read(&mut rest).await? > 0 {}
        Ok::<_, Error>(())
    };
    let _ = timeout(CLOSE_MAX, parting).await;
}
