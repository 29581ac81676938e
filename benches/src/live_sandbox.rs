//! A command in a sandbox that runs already, by its agent's own protocol.
//!
//! No dialect offers that yet: `POST /sandbox/{id}/execute` launches anew. So this speaks to the agent's
//! socket as the server does, without the HTTP around it.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use protocol::{
    ExecId, GuestPath,
    agent::{Event, ExecSpec, ExitStatus, Request, Stdin},
    frame::{self, HEADER_BYTES, Header, Kind},
};
use serde::Deserialize;

use crate::{
    failure::{During, Failure, Outcome},
    http::{self, Connection},
    server::Server,
};

/// After this long without an answer the benchmark fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sandbox in which a program sleeps. Has to be deleted through the server in the end.
pub(crate) struct LiveSandbox {
    id: String,
    socket: PathBuf,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

impl LiveSandbox {
    /// Makes one and starts its program.
    pub(crate) fn start(server: &Server, connection: &mut Connection) -> Outcome<Self> {
        let body =
            r##"{"runtime":"bash","mode":"persistent","code":"#","entry_point":"/bin/sleep 1000000"}"##;
        let created = ask(connection, "POST", "/sandbox", body)?;
        let Created { id } = serde_json::from_str(&created).during("read the answer of POST /sandbox")?;
        ask(connection, "POST", &format!("/sandbox/{id}/execute"), "")?;
        Ok(Self { socket: server.agent_socket(&id), id })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Runs `/bin/true` and returns the time from connecting to the report of its end.
    pub(crate) fn time(&self) -> Outcome<Duration> {
        self.run(&["/bin/true"])
    }

    /// Runs a command, which must succeed, and returns the time from connecting to the report of its end.
    pub(crate) fn run(&self, argv: &[&str]) -> Outcome<Duration> {
        let spec = ExecSpec {
            id: ExecId::random(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: vec![("PATH".to_owned(), "/usr/bin".to_owned())],
            cwd: GuestPath::absolute("/").during("name the working folder")?,
            uid: 0,
            gid: 0,
            stdin: Stdin::Null,
            timeout_ms: Some(30_000),
            output_bytes_max: Some(1 << 20),
            retain_bytes: 0,
            terminal: None,
        };
        let start = Instant::now();
        let frame = frame::encode_message(&Request::ExecStart(spec)).during("write an agent request")?;
        let mut stream = UnixStream::connect(&self.socket).during("connect to the sandbox's agent")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a time limit")?;
        stream.write_all(&frame).during("send to the sandbox's agent")?;
        loop {
            match event(&mut stream).during("read from the sandbox's agent")? {
                Some(Event::ExecStarted { .. }) | None => {}
                Some(Event::ExecEnded(end)) if end.status == ExitStatus::Exited(0) => {
                    return Ok(start.elapsed());
                }
                other => return Err(Failure::new("run a command in a live sandbox", format!("{other:?}"))),
            }
        }
    }

    /// Ends it.
    pub(crate) fn delete(self, connection: &mut Connection) -> Outcome<()> {
        ask(connection, "DELETE", &format!("/sandbox/{}", self.id), "").map(drop)
    }
}

/// The next event; none for a piece of output.
fn event(stream: &mut UnixStream) -> io::Result<Option<Event>> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Header::decode(header).map_err(io::Error::other)?;
    let mut payload = vec![0; header.payload_bytes];
    stream.read_exact(&mut payload)?;
    match header.kind {
        Kind::Message => frame::decode_message(&payload).map(Some).map_err(io::Error::other),
        Kind::Output | Kind::ErrorOutput => Ok(None),
        kind => Err(io::Error::other(format!("unexpected frame {kind:?}"))),
    }
}

fn ask(connection: &mut Connection, method: &str, path: &str, body: &str) -> Outcome<String> {
    let step = format!("{method} {path}");
    let answer = connection.ask(&http::request(method, path, body)).during(&step)?;
    if (200..300).contains(&answer.status) {
        return Ok(answer.body);
    }
    Err(Failure::new(step, format!("status {}: {}", answer.status, answer.body)))
}
