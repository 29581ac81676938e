//! One client's WebSocket: reads what it says, and has it done. Nothing that waits for a program or for the client is
//! done here, so that one terminal never holds up another.

use std::{collections::HashMap, sync::Arc, time::Duration};

use engine::{Caller, Engine, FileProblem, InUse, Sandbox, SandboxState, TerminalSpec};
use futures::{StreamExt, stream::SplitStream};
use protocol::{ExecId, SandboxId, agent::TerminalSize};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame::coding::CloseCode};

use super::{
    super::{convert, error::SessionsError, session::workspace},
    End, WebSocket, close,
    message::{self, Incoming, size_or_default},
    out::{Out, queues, send_all},
    pace::{MESSAGES_PER_S, Pace, Verdict},
    terminal::{Left, Seat, Sitting, sit, typing_room},
};

/// Terminals of one connection.
const TERMINALS_MAX: usize = 64;
/// What of a terminal's latest output is there for a page that is loaded again.
const RETAIN_BYTES: u64 = 256 << 10;
/// How often a client that monitors is told.
const MONITOR_EVERY: Duration = Duration::from_secs(3);
/// How often a connection that is there counts as activity.
const TOUCH_EVERY: Duration = Duration::from_secs(30);
/// How long what is queued may take to be sent before a connection is closed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// Shells, the first that there is.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
const TERMINAL: &str = "terminal_";

/// What a connection is about.
pub(super) struct About {
    pub(super) engine: Engine,
    pub(super) caller: Caller,
    pub(super) session: Sandbox,
    /// How long its terminals are kept after it.
    pub(super) keep: Duration,
    /// A session that somebody sits before is in use.
    pub(super) in_use: InUse,
}

struct Connection {
    engine: Engine,
    caller: Caller,
    session: SandboxId,
    keep: Duration,
    out: Out,
    seats: HashMap<String, Seat>,
    latest: Option<String>,
    left: mpsc::UnboundedSender<Left>,
    room: Arc<Semaphore>,
    monitor: Option<Interval>,
    watch: Option<Task>,
}

/// A task that ends with whoever has it.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves a client until one of both has enough.
pub(super) async fn serve(websocket: WebSocket, about: About) {
    let About { engine, caller, session, keep, in_use: _in_use } = about;
    let (sink, stream) = websocket.split();
    let (out, queues) = queues();
    let mut sending = Task(tokio::spawn(async {}));
    let (left, leaving) = mpsc::unbounded_channel();
    let (sent, mut sent_all) = mpsc::channel(1);
    sending.0 = tokio::spawn(async move {
        let _ = sent.send(send_all(sink, queues).await).await;
    });
    let mut connection = Connection {
        engine,
        caller,
        session: session.id,
        keep,
        out: out.clone(),
        seats: HashMap::new(),
        latest: None,
        left,
        room: typing_room(),
        monitor: None,
        watch: None,
    };
    let mut stream = stream;
    let end = tokio::select! {
        end = connection.talk(&mut stream, leaving) => end,
        // The client is gone, or does not read.
        sink = sent_all.recv() => { drop(sink); End::Gone }
    };
    // Its terminals wait for another one.
    drop(connection);
    let End::Close(..) = end else { return };
    let stopped = timeout(STOP_PATIENCE, async {
        out.stop().await;
        sent_all.recv().await
    });
    if let Ok(Some(sink)) = stopped.await
        && let Ok(websocket) = stream.reunite(sink)
    {
        close(websocket, end).await;
    }
}

impl Connection {
    async fn talk(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        mut leaving: mpsc::UnboundedReceiver<Left>,
    ) -> End {
        let mut pace = Pace::new(Instant::now());
        let mut touch = interval(TOUCH_EVERY);
        touch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                said = stream.next() => {
                    let text = match said {
                        Some(Ok(message)) => message,
                        Some(Err(error)) => return end_of(&error),
                        None => return End::Gone,
                    };
                    match pace.message(Instant::now()) {
                        Verdict::Go => {}
                        Verdict::Wait { time, first } => {
                            if first {
                                let text = format!("Too many messages: a connection may send {MESSAGES_PER_S} a second; slowed down");
                                self.out.answer(message::error(&text, None)).await;
                            }
                            sleep(time).await;
                        }
                        Verdict::Close => return End::Close(CloseCode::Policy, "Too many messages"),
                    }
                    match text {
                        Message::Text(text) => self.heard(&text).await,
                        Message::Binary(_) => {
                            self.out.answer(message::error("Messages are text: JSON", None)).await;
                        }
                        Message::Close(_) => return End::Gone,
                        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                    }
                }
                Some(left) = leaving.recv() => {
                    self.seats.remove(&left.name);
                    if left.detached {
                        if self.has_ended().await {
                            return End::Close(CloseCode::Away, "Session has ended");
                        }
                        self.out.answer(message::about("terminal:detached", &left.name)).await;
                    }
                }
                () = tick(self.monitor.as_mut()) => self.stats_tell().await,
                _ = touch.tick() => {
                    if self.engine.sandbox_touch(&self.caller, self.session).await.is_err() {
                        return End::Close(CloseCode::Away, "Session has ended");
                    }
                }
            }
        }
    }

    /// Whether there is nobody to open a terminal any more.
    async fn has_ended(&self) -> bool {
        let session = self.engine.sandbox_get(&self.caller, self.session).await;
        !session.is_ok_and(|session| session.state == SandboxState::Running)
    }

    async fn heard(&mut self, text: &str) {
        let answer = match Incoming::read(text) {
            Ok(incoming) => self.act(incoming).await,
            Err(text) => Err((text, None)),
        };
        if let Err((text, terminal)) = answer {
            self.out.answer(message::error(&text, terminal.as_deref())).await;
        }
    }

    async fn act(&mut self, incoming: Incoming) -> Result<(), (String, Option<String>)> {
        match incoming {
            Incoming::Create { terminal: None, size } => {
                self.create(size).await.map_err(|error| (error.text(), None))
            }
            Incoming::Create { terminal: Some(name), size } => {
                let attached = self.attach(&name, size).await;
                attached.map_err(|text| (text, Some(name)))
            }
            Incoming::Input { terminal, data } => {
                let (name, seat) = self.seat(terminal)?;
                let typed = seat.input(data, &self.room);
                typed.map_err(|text| (text.to_owned(), Some(name.to_owned())))
            }
            Incoming::Resize { terminal, size } => {
                self.seat(terminal)?.1.resize(size).await;
                Ok(())
            }
            Incoming::Close { terminal } => {
                self.seat(terminal)?.1.close().await;
                Ok(())
            }
            Incoming::Clear { terminal } => {
                let answer = message::about("terminal:cleared", self.seat(terminal)?.0);
                self.out.answer(answer).await;
                Ok(())
            }
            Incoming::Monitor => {
                let mut every = interval(MONITOR_EVERY);
                every.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.monitor = Some(every);
                Ok(())
            }
            Incoming::Unmonitor => {
                self.monitor = None;
                Ok(())
            }
            Incoming::Watch => self.watch_begin().await.map_err(|error| (error.text(), None)),
            Incoming::Unwatch => {
                self.watch = None;
                self.out.answer(message::word("files:unwatched")).await;
                Ok(())
            }
        }
    }

    /// The terminal of this name; of none the latest.
    fn seat(&self, name: Option<String>) -> Result<(&str, &Seat), (String, Option<String>)> {
        let Some(name) = name.or_else(|| self.latest.clone()) else {
            return Err(("There is no terminal: create one".to_owned(), None));
        };
        match self.seats.get_key_value(&name) {
            Some((name, seat)) => Ok((name, seat)),
            None => Err(("Terminal not found".to_owned(), Some(name))),
        }
    }

    async fn create(&mut self, size: Option<TerminalSize>) -> Result<(), SessionsError> {
        self.room_check().map_err(SessionsError::Wrong)?;
        let mut shells = SHELLS.into_iter();
        let terminal = loop {
            let spec = TerminalSpec {
                argv: vec![shells.next().unwrap_or(SHELLS[0]).to_owned()],
                env: Vec::new(),
                cwd: None,
                user: None,
                size: size_or_default(size),
                retain_bytes: RETAIN_BYTES,
            };
            match self.engine.terminal_open(&self.caller, self.session, spec).await {
                Err(error) if error.file_problem() == Some(FileProblem::NotFound) && shells.len() > 0 => {}
                opened => break opened?,
            }
        };
        let name = format!("{TERMINAL}{}", terminal.exec().uuid().simple());
        self.sit(name, terminal).await;
        Ok(())
    }

    async fn attach(&mut self, name: &str, size: Option<TerminalSize>) -> Result<(), String> {
        if self.seats.contains_key(name) {
            return Err("The terminal is open on this connection".to_owned());
        }
        self.room_check()?;
        let unknown = || "Terminal not found".to_owned();
        let uuid = name.strip_prefix(TERMINAL).filter(|text| text.len() == 32).ok_or_else(unknown)?;
        let exec: ExecId = uuid.parse().map_err(|_| unknown())?;
        let attached = self.engine.terminal_attach(&self.caller, self.session, exec).await;
        let terminal = attached.map_err(|error| match error.file_problem() {
            Some(FileProblem::NotFound) => unknown(),
            _ => SessionsError::from(error).text(),
        })?;
        self.sit(name.to_owned(), terminal).await;
        if let (Some(size), Some(seat)) = (size, self.seats.get(name)) {
            seat.resize(size).await;
        }
        Ok(())
    }

    fn room_check(&self) -> Result<(), String> {
        if self.seats.len() < TERMINALS_MAX {
            return Ok(());
        }
        Err(format!("Too many terminals: a connection may have {TERMINALS_MAX}"))
    }

    async fn sit(&mut self, name: String, terminal: engine::Terminal) {
        self.out.answer(message::about("terminal:created", &name)).await;
        let (reader, writer) = terminal.split();
        let sitting =
            Sitting { name: name.clone(), out: self.out.clone(), left: self.left.clone(), keep: self.keep };
        self.seats.insert(name.clone(), sit(reader, writer, sitting));
        self.latest = Some(name);
    }

    async fn stats_tell(&self) {
        let text = match self.engine.machine_stats().await {
            Ok(stats) => message::stats(&convert::stats_body(stats)),
            Err(error) => message::error(&SessionsError::from(error).text(), None),
        };
        self.out.answer(text).await;
    }

    async fn watch_begin(&mut self) -> Result<(), SessionsError> {
        let mut watch = self.engine.watch_open(&self.caller, self.session, workspace()?).await?;
        self.out.answer(message::word("files:watching")).await;
        let out = self.out.clone();
        self.watch = Some(Task(tokio::spawn(async move {
            loop {
                let told = match watch.next().await {
                    Ok(changes) => message::changed(&changes),
                    Err(error) => {
                        let text = format!("files:watch: {}", SessionsError::from(error).text());
                        return out.answer(message::error(&text, None)).await;
                    }
                };
                let Some(told) = told else { continue };
                let Ok(place) = out.place().await else { return };
                place.send(told);
            }
        })));
        Ok(())
    }
}

/// Waits for a tick; for ever if there is no clock.
async fn tick(clock: Option<&mut Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}

/// What a client is told that does not keep to the protocol.
fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Close(CloseCode::Size, "Messages are 1 MiB at most"),
        Error::Utf8(_) => End::Close(CloseCode::Invalid, "A text message is no UTF-8"),
        Error::Protocol(_) => End::Close(CloseCode::Protocol, "The WebSocket protocol was violated"),
        _ => End::Gone,
    }
}
