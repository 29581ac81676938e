//! What the engine says to agents: write these files, run this, does this port answer.

use std::time::Duration;

use bytes::Bytes;
use protocol::{
    ExecId, GuestPath,
    agent::{Event, ExecEnd, ExecSpec, Failure, Request},
    frame::{self, FrameError, Kind, STREAM_BYTES},
    limits::Limits,
};

use tokio::sync::mpsc;

use super::connection::{AgentError, Connection, Incoming, Receiving, Sending, push_request};
use crate::program::ProgramFile;

/// An exec that has ended, with what it wrote.
#[derive(Debug)]
pub(crate) struct ExecOutput {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) end: ExecEnd,
}

/// Writes files. The requests go out as they are put together and are answered in order.
pub(crate) async fn files_write(
    connection: &mut Connection,
    files: &[ProgramFile],
) -> Result<(), AgentError> {
    files_write_and(connection, files, Vec::new()).await
}

/// Writes files and, in the same breath, starts an exec: its answers come next. If a file can't be written the
/// exec may run all the same, so the caller gives the sandbox up then.
pub(crate) async fn files_write_and_exec_start(
    connection: &mut Connection,
    files: &[ProgramFile],
    spec: ExecSpec,
) -> Result<(), AgentError> {
    let mut last = Vec::new();
    push_request(&mut last, &Request::ExecStart(spec))?;
    files_write_and(connection, files, last).await
}

/// Answers are taken while files are sent: an agent whose answers nobody takes stops reading in the end, and two
/// that wait for each other wait for ever.
async fn files_write_and(
    connection: &mut Connection,
    files: &[ProgramFile],
    last: Vec<u8>,
) -> Result<(), AgentError> {
    let (mut receiving, mut sending) = connection.split();
    let send = files_send(&mut sending, files, last);
    let answers = files_answered(&mut receiving, files.len());
    let ((), refused) = tokio::try_join!(send, answers)?;
    refused.map_or(Ok(()), |failure| Err(AgentError::Failed(failure)))
}

async fn files_send(
    sending: &mut Sending<'_>,
    files: &[ProgramFile],
    last: Vec<u8>,
) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    for file in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        push_request(&mut frames, &Request::FileWrite { path: file.path.clone(), mode })?;
        for piece in file.content.chunks(STREAM_BYTES) {
            frames.extend(frame::encode(Kind::Input, piece)?);
            if frames.len() >= STREAM_BYTES {
                sending.send(&frames).await?;
                frames.clear();
            }
        }
        frames.extend(frame::encode(Kind::InputEnd, &[])?);
    }
    frames.extend(last);
    sending.send(&frames).await
}

/// Takes an answer for each file. Returns the first of those that say that a file can't be written.
async fn files_answered(receiving: &mut Receiving<'_>, count: usize) -> Result<Option<Failure>, AgentError> {
    let mut refused = None;
    for _ in 0..count {
        match receiving.answer().await {
            Ok(Event::Done) => {}
            Ok(event) => return Err(AgentError::Unexpected(event)),
            Err(AgentError::Failed(failure)) => refused = refused.or(Some(failure)),
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// What an exec does next.
#[derive(Debug)]
pub(crate) enum ExecEvent {
    /// It wrote to standard output.
    Stdout(Bytes),
    /// It wrote to standard error.
    Stderr(Bytes),
    /// It has ended.
    Ended(ExecEnd),
}

/// Starts an exec; [`exec_next`] tells what it does.
pub(crate) async fn exec_start(connection: &mut Connection, spec: ExecSpec) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::ExecStart(spec))?;
    connection.send(&frames).await
}

/// Follows an exec that was started before, in the place of whoever followed it; [`exec_next`] tells what it does.
/// [`AgentError::Failed`] if there is none, or none any more.
pub(crate) async fn exec_attach(connection: &mut Connection, exec: ExecId) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::ExecAttach { exec })?;
    connection.send(&frames).await?;
    exec_started(connection).await
}

/// Waits until an exec that was asked for runs. [`AgentError::Failed`] if it could not be started.
pub(crate) async fn exec_started(connection: &mut Connection) -> Result<(), AgentError> {
    match connection.answer().await? {
        Event::ExecStarted { .. } => Ok(()),
        event => Err(AgentError::Unexpected(event)),
    }
}

/// The part of a sandbox's memory that an agent may retain output in, of each stream.
const RETAINED_PART: u64 = 32;

/// How much of each stream is to be retained of an exec of which so much is wanted: output is not to cost a small
/// sandbox the memory of its program.
pub(crate) fn retain_bytes(wanted: u64, limits: &Limits) -> u64 {
    wanted.min(limits.memory_bytes / RETAINED_PART)
}

/// Sends one request.
pub(crate) async fn request_send(connection: &mut Connection, request: &Request) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, request)?;
    connection.send(&frames).await
}

/// Whether the agent answers at all.
pub(crate) async fn ping(connection: &mut Connection) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::Ping)?;
    connection.send(&frames).await?;
    match connection.answer().await? {
        Event::Pong => Ok(()),
        event => Err(AgentError::Unexpected(event)),
    }
}

/// Makes a folder and those above it, where they are missing.
pub(crate) async fn folder_create(connection: &mut Connection, path: GuestPath) -> Result<(), AgentError> {
    request_done(connection, &Request::FolderCreate { path, mode: 0o755 }).await
}

/// Reads the beginning of a file, up to so many bytes.
pub(crate) async fn file_read(
    connection: &mut Connection,
    path: GuestPath,
    bytes_max: u64,
) -> Result<Vec<u8>, AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::FileRead { path, offset: 0, length: Some(bytes_max) })?;
    connection.send(&frames).await?;
    let room = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    loop {
        match connection.next().await? {
            Incoming::Event(Event::FileOpened { .. }) => {}
            Incoming::Output(bytes) => {
                let taken = bytes.len().min(room.saturating_sub(content.len()));
                content.extend_from_slice(&bytes[..taken]);
            }
            Incoming::Event(Event::Done) => return Ok(content),
            Incoming::Event(Event::Failed(failure)) => return Err(AgentError::Failed(failure)),
            Incoming::Event(event) => return Err(AgentError::Unexpected(event)),
            Incoming::ErrorOutput(_) => return Err(FrameError::UnknownKind(Kind::ErrorOutput as u8).into()),
        }
    }
}

/// Waits for what the started exec does next. While nobody waits, the program can't write without bound:
/// the connection fills up, and with it the program's pipe.
pub(crate) async fn exec_next(receiving: &mut Receiving<'_>) -> Result<ExecEvent, AgentError> {
    loop {
        return match receiving.next().await? {
            Incoming::Output(bytes) => Ok(ExecEvent::Stdout(bytes)),
            Incoming::ErrorOutput(bytes) => Ok(ExecEvent::Stderr(bytes)),
            Incoming::Event(Event::ExecStarted { .. }) => continue,
            Incoming::Event(Event::ExecEnded(end)) => Ok(ExecEvent::Ended(end)),
            Incoming::Event(Event::Failed(failure)) => Err(AgentError::Failed(failure)),
            Incoming::Event(event) => Err(AgentError::Unexpected(event)),
        };
    }
}

/// Sends the started exec its standard input, at the speed at which it reads, and then the end of it. The agent
/// drops what comes when the exec has ended.
pub(crate) async fn exec_input(
    sending: &mut Sending<'_>,
    mut input: mpsc::Receiver<Vec<u8>>,
) -> Result<(), AgentError> {
    while let Some(bytes) = input.recv().await {
        for piece in bytes.chunks(STREAM_BYTES) {
            sending.send(&frame::encode(Kind::Input, piece)?).await?;
        }
    }
    sending.send(&frame::encode(Kind::InputEnd, &[])?).await
}

/// Feeds the started exec its standard input, while it keeps what the exec writes: an exec that writes before it has
/// read everything goes on.
pub(crate) async fn exec_feed_collect(
    connection: &mut Connection,
    input: Option<Vec<u8>>,
    output_bytes_max: u64,
) -> Result<ExecOutput, AgentError> {
    let Some(input) = input else { return exec_collect_started(connection, output_bytes_max).await };
    let (mut receiving, mut sending) = connection.split();
    let (pieces, fed) = mpsc::channel(1);
    pieces.try_send(input).map_err(|_| AgentError::Gone(std::io::ErrorKind::BrokenPipe.into()))?;
    drop(pieces);
    let feed = async {
        exec_input(&mut sending, fed).await?;
        std::future::pending().await
    };
    tokio::select! {
        collected = collect(&mut receiving, output_bytes_max) => collected,
        failed = feed => failed,
    }
}

/// Runs an exec to its end and keeps what it writes.
pub(crate) async fn exec_collect(
    connection: &mut Connection,
    spec: ExecSpec,
    output_bytes_max: u64,
) -> Result<ExecOutput, AgentError> {
    exec_start(connection, spec).await?;
    exec_collect_started(connection, output_bytes_max).await
}

/// The same for an exec that was started already. An agent that sends more than it was told to is cut off.
pub(crate) async fn exec_collect_started(
    connection: &mut Connection,
    output_bytes_max: u64,
) -> Result<ExecOutput, AgentError> {
    collect(&mut connection.split().0, output_bytes_max).await
}

async fn collect(receiving: &mut Receiving<'_>, output_bytes_max: u64) -> Result<ExecOutput, AgentError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let room = usize::try_from(output_bytes_max).unwrap_or(usize::MAX);
    loop {
        let (into, bytes) = match exec_next(receiving).await? {
            ExecEvent::Stdout(bytes) => (&mut stdout, bytes),
            ExecEvent::Stderr(bytes) => (&mut stderr, bytes),
            ExecEvent::Ended(end) => return Ok(ExecOutput { stdout, stderr, end }),
        };
        let taken = bytes.len().min(room.saturating_sub(into.len()));
        into.extend_from_slice(&bytes[..taken]);
    }
}

/// How long a connection inside the sandbox may take to be refused or accepted.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks for what is answered by nothing but that it is done, which may make the connection a stream of its own.
pub(crate) async fn request_done(connection: &mut Connection, request: &Request) -> Result<(), AgentError> {
    request_send(connection, request).await?;
    match connection.answer().await? {
        Event::Done => Ok(()),
        event => Err(AgentError::Unexpected(event)),
    }
}

/// Whether something listens on a port inside.
pub(crate) async fn port_answers(connection: &mut Connection, port: u16) -> Result<bool, AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::PortDial { port })?;
    connection.send(&frames).await?;
    match tokio::time::timeout(DIAL_TIMEOUT, connection.answer()).await {
        Ok(Ok(Event::Done)) => Ok(true),
        Ok(Ok(event)) => Err(AgentError::Unexpected(event)),
        Ok(Err(AgentError::Failed(_))) | Err(_) => Ok(false),
        Ok(Err(error)) => Err(error),
    }
}
