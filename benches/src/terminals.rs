//! Terminals over the WebSocket of a session, in turns with a terminal of this machine that nothing is in between.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde::Deserialize;
use serde_json::json;
use tungstenite::{Message, WebSocket, client::IntoClientRequest};

use crate::{
    failure::{During, Failure, Outcome},
    http,
    samples::Samples,
    server::Server,
};

/// After this long without an answer the benchmark fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is shown at once: lines of 100 characters.
const LARGE_BYTES: usize = 100_000_000;
const LARGE_TIMES: usize = 5;
/// Below what a connection may send in a second.
const KEYSTROKE_PACE: Duration = Duration::from_millis(11);

/// The times.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) keystroke: Samples,
    pub(crate) keystroke_local: Samples,
    pub(crate) large: Samples,
    pub(crate) large_local: Samples,
}

/// Measures so many keystrokes, and some large files.
pub(crate) fn measure(server: &Server, keystrokes: usize) -> Outcome<Times> {
    let mut times = Times::default();
    let (mut remote, mut local) = (Remote::open(server)?, Local::cat(None)?);
    // What is typed before the shell has set the terminal back is echoed by nobody.
    remote.echoed("echo star''ted; exec cat\n", "started\r\n").during("type into a terminal")?;
    remote.echoed("ready\n", "ready\r\nready\r\n").during("start cat in a terminal")?;
    for number in 0..keystrokes {
        let key = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default()).to_string();
        let took = remote.echoed(&key, &key).during("press a key")?;
        times.keystroke.push(took);
        times.keystroke_local.push(local.echoed(key.as_bytes()).during("press a key")?);
        std::thread::sleep(KEYSTROKE_PACE.saturating_sub(took));
    }
    let (mut remote, file) = (Remote::open(server)?, large_make(server)?);
    let make = format!("yes {} | head -c {LARGE_BYTES} > large; echo ma''de\n", "x".repeat(99));
    remote.echoed(&make, "made\r\n").during("make a large file in a session")?;
    for _ in 0..LARGE_TIMES {
        times
            .large
            .push(remote.echoed("cat large; echo sho''wn\n", "shown\r\n").during("show a large file")?);
        let start = Instant::now();
        Local::cat(Some(&file))?.skip_all().during("show a large file")?;
        times.large_local.push(start.elapsed());
    }
    std::fs::remove_file(&file).during("remove a large file")?;
    Ok(times)
}

fn large_make(server: &Server) -> Outcome<PathBuf> {
    let path = server.storage().join("bench-shown");
    let line = [&[b'x'; 99][..], b"\n"].concat();
    std::fs::write(&path, line.repeat(LARGE_BYTES / line.len())).during("write a large file")?;
    Ok(path)
}

/// A terminal of a session.
struct Remote {
    socket: WebSocket<TcpStream>,
    terminal: String,
}

#[derive(Deserialize)]
struct Session {
    id: String,
}

/// What of a message is of interest.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "terminalId")]
    terminal: Option<&'a str>,
    data: Option<String>,
}

impl Remote {
    fn open(server: &Server) -> Outcome<Self> {
        let key = server.key_create()?;
        let request = http::request_with_key("POST", "/api/sessions", &key, "{}");
        let answer = server.connect()?.ask(&request).during("make a session")?;
        let Session { id } =
            serde_json::from_str(&answer.body).during("read the answer of POST /api/sessions")?;
        let stream = TcpStream::connect(server.address).during("connect to the server")?;
        stream.set_nodelay(true).during("have keystrokes sent at once")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a time limit")?;
        let mut request = format!("ws://{}/ws?sessionId={id}", server.address)
            .into_client_request()
            .during("ask for a WebSocket")?;
        request.headers_mut().insert("x-api-key", key.parse().during("send a key")?);
        let (socket, _) = tungstenite::client(request, stream)
            .map_err(|error| Failure::new("open a WebSocket", error.to_string()))?;
        let mut remote = Self { socket, terminal: String::new() };
        remote.send(&json!({"type": "terminal:create"})).during("create a terminal")?;
        while remote.terminal.is_empty() {
            let text = remote.text().during("create a terminal")?;
            let told: Told<'_> = serde_json::from_str(&text).during("read what the server says")?;
            remote.terminal = told.terminal.unwrap_or_default().to_owned();
        }
        remote.echoed("echo rea''dy\n", "ready\r\n").during("wait for a shell")?;
        Ok(remote)
    }

    fn send(&mut self, message: &serde_json::Value) -> io::Result<()> {
        self.socket.send(Message::text(message.to_string())).map_err(io::Error::other)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let terminal = self.terminal.clone();
        self.send(&json!({"type": "terminal:input", "terminalId": terminal, "data": text}))
    }

    fn text(&mut self) -> io::Result<String> {
        loop {
            match self.socket.read().map_err(io::Error::other)? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Close(frame) => return Err(io::Error::other(format!("closed: {frame:?}"))),
                _ => {}
            }
        }
    }

    /// Types something, and waits until the end of what is shown is this.
    fn echoed(&mut self, typed: &str, shown: &str) -> io::Result<Duration> {
        let start = Instant::now();
        self.say(typed)?;
        let mut end = String::new();
        loop {
            let text = self.text()?;
            let took = start.elapsed();
            // The prompt may come after it; what is far before the end of a large file is of no interest.
            let told: Told<'_> = serde_json::from_str(&text).map_err(io::Error::other)?;
            let data = told.data.unwrap_or_else(|| text.clone());
            let mut from = data.len().saturating_sub(4096);
            while !data.is_char_boundary(from) {
                from += 1;
            }
            end.push_str(&data[from..]);
            if end.contains(shown) {
                return Ok(took);
            }
            let mut old = end.len().saturating_sub(shown.len());
            while !end.is_char_boundary(old) {
                old -= 1;
            }
            end.drain(..old);
        }
    }
}

/// A terminal of this machine with `cat` in it.
struct Local {
    front: File,
    cat: Child,
}

impl Local {
    fn cat(file: Option<&PathBuf>) -> Outcome<Self> {
        let front = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).during("make a terminal")?;
        grantpt(&front).and_then(|()| unlockpt(&front)).during("unlock a terminal")?;
        let name = ptsname(&front, Vec::new()).during("name a terminal")?;
        let back = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let back: OwnedFd = back.during("open a terminal")?;
        let end = || back.try_clone().map(Stdio::from).during("open a terminal");
        let cat = Command::new("cat").args(file).stdin(end()?).stdout(end()?).spawn().during("start cat")?;
        Ok(Self { front: front.into(), cat })
    }

    /// Presses a key, and waits until it is shown.
    fn echoed(&mut self, key: &[u8]) -> io::Result<Duration> {
        let start = Instant::now();
        self.front.write_all(key)?;
        let mut shown = [0; 64];
        if self.front.read(&mut shown)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(start.elapsed())
    }

    /// Reads all that is shown.
    fn skip_all(&mut self) -> io::Result<()> {
        let mut shown = vec![0; 64 << 10];
        // At its end a terminal fails with EIO: pty(7).
        while matches!(self.front.read(&mut shown), Ok(length) if length > 0) {}
        self.cat.wait().map(drop)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.cat.kill();
        let _ = self.cat.wait();
    }
}
