//! Frames over a socket, as values.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use protocol::{
    agent::{Event, Failure, Request},
    frame::{self, ANSWER_BYTES_MAX, FrameError, HEADER_BYTES, Header, Kind},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// The agent is gone, and the sandbox with it.
    #[error("the connection to the agent broke")]
    Gone(#[source] io::Error),
    /// What came is not a frame, or not one that fits here.
    #[error("the agent does not keep to the protocol")]
    Protocol(#[source] FrameError),
    /// The agent answered what was not asked.
    #[error("the agent answered {0:?}")]
    Unexpected(Event),
    /// The agent could not do it.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl AgentError {
    /// The error of a frame that has no meaning where it came.
    pub(crate) fn unexpected_frame(kind: Kind) -> Self {
        Self::Protocol(FrameError::UnknownKind(kind as u8))
    }
}

impl From<FrameError> for AgentError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error)
    }
}

impl From<io::Error> for AgentError {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// One frame from the agent.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// An answer.
    Event(Event),
    /// Standard output, or the content of a file.
    Output(Bytes),
    /// Standard error.
    ErrorOutput(Bytes),
}

/// How much is read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// One connection. Requests may be sent before the last is answered.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: UnixStream,
    received: BytesMut,
}

impl Connection {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket, received: BytesMut::new() }
    }

    /// Both directions, to be used at the same time.
    pub(crate) fn split(&mut self) -> (Receiving<'_>, Sending<'_>) {
        (Receiving::new(&self.socket, &mut self.received), Sending::new(&self.socket))
    }

    /// The socket, where the conversation has become something else, and what of that has come already.
    pub(crate) fn into_parts(self) -> (UnixStream, BytesMut) {
        (self.socket, self.received)
    }

    /// Sends requests and what belongs to them, put together as frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> Result<(), AgentError> {
        self.split().1.send(frames).await
    }

    /// The next frame. One that was not waited for is not lost.
    pub(crate) async fn next(&mut self) -> Result<Incoming, AgentError> {
        self.split().0.next().await
    }

    /// The same for readers that are polled.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, AgentError>> {
        self.split().0.poll_next(context)
    }

    /// Says that nothing more comes, and waits until the other end has closed as well.
    pub(crate) async fn close(&mut self) -> Result<(), AgentError> {
        self.socket.shutdown().await?;
        loop {
            self.received.clear();
            self.received.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Ok(());
            }
        }
    }

    /// The next answer where no output can come.
    pub(crate) async fn answer(&mut self) -> Result<Event, AgentError> {
        self.split().0.answer().await
    }
}

/// The direction to the agent.
pub(crate) struct Sending<'a>(&'a UnixStream);

impl<'a> Sending<'a> {
    /// One over a socket that is written nowhere else.
    pub(crate) fn new(socket: &'a UnixStream) -> Self {
        Self(socket)
    }

    /// Sends whole frames.
    pub(crate) async fn send(&mut self, mut frames: &[u8]) -> Result<(), AgentError> {
        while !frames.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(frames) {
                Ok(sent) => frames = &frames[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The direction from the agent.
pub(crate) struct Receiving<'a> {
    socket: &'a UnixStream,
    received: &'a mut BytesMut,
}

impl<'a> Receiving<'a> {
    /// One over a socket that is read nowhere else, with what came of it already.
    pub(crate) fn new(socket: &'a UnixStream, received: &'a mut BytesMut) -> Self {
        Self { socket, received }
    }

    /// The next frame. One that was not waited for is not lost.
    pub(crate) async fn next(&mut self) -> Result<Incoming, AgentError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next answer where no output can come.
    pub(crate) async fn answer(&mut self) -> Result<Event, AgentError> {
        match self.next().await? {
            Incoming::Event(Event::Failed(failure)) => Err(AgentError::Failed(failure)),
            Incoming::Event(event) => Ok(event),
            Incoming::Output(_) | Incoming::ErrorOutput(_) => Err(AgentError::unexpected_frame(Kind::Output)),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, AgentError>> {
        let header = loop {
            if let Some(bytes) = self.received.first_chunk::<HEADER_BYTES>() {
                break Header::decode(*bytes)?.within(ANSWER_BYTES_MAX)?;
            }
            ready!(self.poll_read_more(context, HEADER_BYTES))?;
        };
        let whole = HEADER_BYTES + header.payload_bytes;
        while self.received.len() < whole {
            ready!(self.poll_read_more(context, whole))?;
        }
        let payload = self.received.split_to(whole).freeze().split_off(HEADER_BYTES);
        Poll::Ready(match header.kind {
            Kind::Message => Ok(Incoming::Event(frame::decode_message(&payload)?)),
            Kind::Output => Ok(Incoming::Output(payload)),
            Kind::ErrorOutput => Ok(Incoming::ErrorOutput(payload)),
            kind @ (Kind::Input | Kind::InputEnd) => Err(AgentError::unexpected_frame(kind)),
        })
    }

    fn poll_read_more(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<Result<(), AgentError>> {
        self.received.reserve(wanted.saturating_sub(self.received.len()).max(READ_BYTES));
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read_buf(self.received) {
                Ok(0) => return Poll::Ready(Err(AgentError::Gone(io::ErrorKind::UnexpectedEof.into()))),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// Appends a request to frames that are being put together.
pub(crate) fn push_request(frames: &mut Vec<u8>, request: &Request) -> Result<(), AgentError> {
    frames.extend(frame::encode_message(request)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection makes of these bytes, the most memory it held, and how many bytes of output came.
    fn read_all(pieces: &[Vec<u8>]) -> (AgentError, usize, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut agent) = UnixStream::pair().unwrap();
            let mut connection = Connection::new(ours);
            let sending = async {
                for piece in pieces {
                    // Whoever has heard enough closes.
                    if agent.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(agent);
            };
            let reading = async {
                let (mut held, mut output) = (0, 0);
                loop {
                    let next = connection.next().await;
                    held = held.max(connection.received.capacity());
                    match next {
                        Ok(Incoming::Output(bytes) | Incoming::ErrorOutput(bytes)) => output += bytes.len(),
                        Ok(Incoming::Event(_)) => {}
                        Err(error) => {
                            drop(connection);
                            return (error, held, output);
                        }
                    }
                }
            };
            tokio::join!(sending, reading).1
        })
    }

    /// Pieces of a hostile stream: noise, whole frames of noise, headers that lie.
    fn piece() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let noise = || proptest::collection::vec(any::<u8>(), 0..300);
        let framed = (0_u8..6, noise()).prop_map(|(kind, payload)| {
            let length = u32::try_from(payload.len()).unwrap();
            [&length.to_le_bytes()[..], &[kind], &payload].concat()
        });
        let lie =
            (any::<u32>(), 0_u8..6).prop_map(|(length, kind)| [&length.to_le_bytes()[..], &[kind]].concat());
        prop_oneof![1 => noise(), 6 => framed, 1 => lie]
    }

    /// A frame's header, and as much of its payload.
    fn begun(payload_bytes: usize, sent: usize) -> Vec<u8> {
        let header = Header { kind: Kind::Output, payload_bytes }.encode().unwrap();
        [&header[..], &vec![0; sent]].concat()
    }

    #[test]
    fn an_unfinished_frame_takes_no_more_than_a_piece_of_a_stream() {
        let (error, held, output) =
            read_all(&[begun(ANSWER_BYTES_MAX, ANSWER_BYTES_MAX), begun(ANSWER_BYTES_MAX, 1)]);
        assert!(matches!(error, AgentError::Gone(_)), "{error}");
        assert_eq!(output, ANSWER_BYTES_MAX);
        assert!(held <= 2 * (ANSWER_BYTES_MAX + READ_BYTES), "{held} bytes held");
        let (error, held, _) = read_all(&[begun(ANSWER_BYTES_MAX + 1, 4 * ANSWER_BYTES_MAX)]);
        assert!(matches!(error, AgentError::Protocol(FrameError::TooLarge { .. })), "{error}");
        assert!(held <= 2 * READ_BYTES, "{held} bytes held");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_end_in_an_error_and_take_bounded_memory(
            pieces in proptest::collection::vec(piece(), 0..20),
        ) {
            let sent: usize = pieces.iter().map(Vec::len).sum();
            let (error, held, output) = read_all(&pieces);
            proptest::prop_assert!(matches!(error, AgentError::Gone(_) | AgentError::Protocol(_)), "{error}");
            proptest::prop_assert!(held <= 2 * (ANSWER_BYTES_MAX + READ_BYTES), "{held} bytes held");
            proptest::prop_assert!(output <= sent, "{output} bytes of {sent}");
        }
    }
}
