//! Whole folder trees out of a sandbox and into one, as tar streams. Nothing here looks into an archive:
//! that is the agent's, inside; the server only passes it on, a frame at a time.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use protocol::{
    GuestPath,
    agent::{Event, Request},
    frame::{Header, Kind, STREAM_BYTES},
};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncReadExt, ReadBuf},
    time::timeout,
};

use super::connection::{AgentError, Connection, Incoming, push_request};

/// How long an agent may take nothing of what it is sent, and how long to clean up.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Begins to read everything below a folder. The agent makes no more of the archive than is taken, and a few
/// frames. A hostile agent may send without end: [`super::limit::Limited`] says how much is too much.
pub(crate) async fn tree_read(mut connection: Connection, path: GuestPath) -> Result<TreeReader, AgentError> {
    let mut frames = Vec::new();
    push_request(&mut frames, &Request::TreeRead { path })?;
    connection.send(&frames).await?;
    // So that a folder that can't be read is known before anybody was promised an archive.
    let first = connection.next().await?;
    let mut reader = TreeReader { connection, piece: Bytes::new(), ended: false };
    reader.incoming_take(first)?;
    Ok(reader)
}

/// The archive of a tree. At its end it is complete; an error, which has an [`AgentError`] inside, says that
/// it is not.
#[derive(Debug)]
pub(crate) struct TreeReader {
    connection: Connection,
    piece: Bytes,
    ended: bool,
}

impl TreeReader {
    fn incoming_take(&mut self, incoming: Incoming) -> Result<(), AgentError> {
        match incoming {
            Incoming::Output(piece) => self.piece = piece,
            Incoming::Event(Event::Done) => self.ended = true,
            Incoming::Event(Event::Failed(failure)) => return Err(AgentError::Failed(failure)),
            Incoming::Event(event) => return Err(AgentError::Unexpected(event)),
            Incoming::ErrorOutput(_) => return Err(AgentError::unexpected_frame(Kind::ErrorOutput)),
        }
        Ok(())
    }
}

impl AsyncBufRead for TreeReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.piece.is_empty() && !this.ended {
            let taken =
                ready!(this.connection.poll_next(context)).and_then(|incoming| this.incoming_take(incoming));
            taken.map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        self.get_mut().piece.advance(bytes);
    }
}

impl AsyncRead for TreeReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let piece = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = piece.len().min(buffer.remaining());
        buffer.put_slice(&piece[..length]);
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

/// Why a tree was not written. The folder is as it was, unless the agent failed after the last byte.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeWriteError {
    /// The archive could not be read to its end: it is damaged, too large, or its sender is gone.
    #[error("the archive could not be read")]
    Content(#[source] io::Error),
    /// The agent refused it, or is gone.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Unpacks an archive into a folder, as [`Request::TreeWrite`] says. Ends at once when the agent refuses it,
/// whatever is left. The connection is used up: closing it is how an archive is broken off. The agent knows of
/// that when this returns; [`files_settle`] then waits for what it has to clean up.
pub(crate) async fn tree_write(
    mut connection: Connection,
    path: GuestPath,
    bytes_max: Option<u64>,
    clear: bool,
    content: impl AsyncRead + Unpin,
) -> Result<(), TreeWriteError> {
    let written = tree_send(&mut connection, path, bytes_max, clear, content).await;
    if matches!(written, Err(TreeWriteError::Content(_))) {
        let _ = timeout(STALL_MAX, connection.close()).await;
    }
    written
}

async fn tree_send(
    connection: &mut Connection,
    path: GuestPath,
    bytes_max: Option<u64>,
    clear: bool,
    mut content: impl AsyncRead + Unpin,
) -> Result<(), TreeWriteError> {
    let mut frames = Vec::with_capacity(STREAM_BYTES);
    push_request(&mut frames, &Request::TreeWrite { path, bytes_max, clear })?;
    connection.send(&frames).await?;
    let mut buffer = vec![0; STREAM_BYTES];
    loop {
        let length = tokio::select! {
            biased;
            early = connection.answer() => return Err(AgentError::Unexpected(early?).into()),
            read = content.read(&mut buffer) => read.map_err(TreeWriteError::Content)?,
        };
        let kind = if length == 0 { Kind::InputEnd } else { Kind::Input };
        let header = Header { kind, payload_bytes: length }.encode().map_err(AgentError::from)?;
        frames.clear();
        frames.extend_from_slice(&header);
        frames.extend_from_slice(&buffer[..length]);
        let sent = timeout(STALL_MAX, connection.send(&frames)).await;
        sent.unwrap_or_else(|_| Err(AgentError::Gone(io::ErrorKind::TimedOut.into())))?;
        if length == 0 {
            break;
        }
    }
    match connection.answer().await? {
        Event::Done => Ok(()),
        event => Err(AgentError::Unexpected(event).into()),
    }
}

/// Waits until the agent has done what it was busy with on files: it does one thing after the other.
pub(crate) async fn files_settle(mut connection: Connection) -> Result<(), AgentError> {
    let mut frames = Vec::new();
    // It is there, and stays as it is.
    push_request(&mut frames, &Request::FolderCreate { path: GuestPath::root(), mode: 0o755 })?;
    let settled = async {
        connection.send(&frames).await?;
        connection.answer().await.map(|_| ())
    };
    let settled = timeout(STALL_MAX, settled).await;
    settled.unwrap_or_else(|_| Err(AgentError::Gone(io::ErrorKind::TimedOut.into())))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use protocol::{
        agent::{Failure, FailureKind},
        frame::{self, HEADER_BYTES},
    };
    use tokio::{io::AsyncWriteExt, net::UnixStream};

    use super::*;

    fn path() -> GuestPath {
        GuestPath::absolute("/sandbox").unwrap()
    }

    fn pair() -> (Connection, UnixStream) {
        let (server, agent) = UnixStream::pair().unwrap();
        (Connection::new(server), agent)
    }

    /// What the server sent next, at the agent's end.
    async fn received(agent: &mut UnixStream) -> (Kind, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        agent.read_exact(&mut header).await.unwrap();
        let header = Header::decode(header).unwrap();
        let mut payload = vec![0; header.payload_bytes];
        agent.read_exact(&mut payload).await.unwrap();
        (header.kind, payload)
    }

    async fn request(agent: &mut UnixStream) -> Request {
        frame::decode_message(&received(agent).await.1).unwrap()
    }

    async fn answer(agent: &mut UnixStream, event: &Event) {
        agent.write_all(&frame::encode_message(event).unwrap()).await.unwrap();
    }

    async fn output(agent: &mut UnixStream, bytes: &[u8]) {
        agent.write_all(&frame::encode(Kind::Output, bytes).unwrap()).await.unwrap();
    }

    fn refused() -> Event {
        Event::Failed(Failure { kind: FailureKind::Invalid, message: "refuse the archive".to_owned() })
    }

    #[tokio::test]
    async fn a_tree_is_read_to_its_end() {
        let (connection, mut agent) = pair();
        let served = async {
            assert_eq!(request(&mut agent).await, Request::TreeRead { path: path() });
            for piece in [&b"one "[..], b"", b"two"] {
                output(&mut agent, piece).await;
            }
            answer(&mut agent, &Event::Done).await;
        };
        let read = async {
            let mut archive = Vec::new();
            tree_read(connection, path()).await.unwrap().read_to_end(&mut archive).await.unwrap();
            archive
        };
        assert_eq!(tokio::join!(served, read).1, b"one two");
    }

    #[tokio::test]
    async fn an_archive_that_is_not_complete_is_an_error() {
        for last in [Some(refused()), Some(Event::Pong), None] {
            let (connection, mut agent) = pair();
            output(&mut agent, b"some").await;
            if let Some(event) = &last {
                answer(&mut agent, event).await;
            }
            agent.shutdown().await.unwrap();
            let mut reader = tree_read(connection, path()).await.unwrap();
            let mut archive = Vec::new();
            let error = reader.read_to_end(&mut archive).await.unwrap_err();
            assert_eq!(archive, b"some");
            assert!(error.get_ref().unwrap().is::<AgentError>(), "{last:?}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_is_known_at_once() {
        let (connection, mut agent) = pair();
        answer(&mut agent, &refused()).await;
        assert!(matches!(tree_read(connection, path()).await, Err(AgentError::Failed(_))));
    }

    #[tokio::test]
    async fn an_agent_is_held_up_by_a_slow_reader() {
        let (connection, mut agent) = pair();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let served = tokio::spawn(async move {
            for _ in 0..1000 {
                output(&mut agent, &[1; STREAM_BYTES]).await;
                counted.fetch_add(STREAM_BYTES, Ordering::Relaxed);
            }
            answer(&mut agent, &Event::Done).await;
        });
        let mut reader = tree_read(connection, path()).await.unwrap();
        let mut taken = 0;
        let mut buffer = vec![0; STREAM_BYTES];
        loop {
            // Lets the agent go as far as it can.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            let ahead = sent.load(Ordering::Relaxed).saturating_sub(taken);
            assert!(ahead < 2 << 20, "{ahead} bytes are held");
            match reader.read(&mut buffer).await.unwrap() {
                0 => break,
                length => taken += length,
            }
        }
        assert_eq!(taken, 1000 * STREAM_BYTES);
        served.await.unwrap();
    }

    #[tokio::test]
    async fn a_tree_is_written_whole() {
        let (connection, mut agent) = pair();
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let served = async {
            let asked = Request::TreeWrite { path: path(), bytes_max: Some(7), clear: true };
            assert_eq!(request(&mut agent).await, asked);
            let mut archive = Vec::new();
            loop {
                match received(&mut agent).await {
                    (Kind::Input, piece) => archive.extend(piece),
                    (Kind::InputEnd, _) => break,
                    other => panic!("{other:?}"),
                }
            }
            answer(&mut agent, &Event::Done).await;
            archive
        };
        let written = tree_write(connection, path(), Some(7), true, &content[..]);
        let (archive, written) = tokio::join!(served, written);
        written.unwrap();
        assert!(archive == content);
    }

    #[tokio::test]
    async fn a_refusal_ends_an_archive_that_would_never_end() {
        let (connection, mut agent) = pair();
        let served = async {
            request(&mut agent).await;
            received(&mut agent).await;
            answer(&mut agent, &refused()).await;
            // As the agent does it: the rest is skipped.
            tokio::io::copy(&mut agent, &mut tokio::io::sink()).await.unwrap();
        };
        let written = tree_write(connection, path(), None, false, tokio::io::repeat(1));
        let ((), written) = tokio::join!(served, written);
        assert!(matches!(written, Err(TreeWriteError::Agent(AgentError::Failed(_)))), "{written:?}");
    }

    #[tokio::test]
    async fn content_that_breaks_off_closes_the_connection_without_an_end() {
        let (connection, mut agent) = pair();
        let broken = reader_of(vec![Ok(&b"some"[..]), Err(io::ErrorKind::ConnectionReset.into())]);
        let served = async {
            request(&mut agent).await;
            let first = received(&mut agent).await;
            let mut rest = Vec::new();
            agent.read_to_end(&mut rest).await.unwrap();
            agent.shutdown().await.unwrap();
            (first, rest)
        };
        let written = tree_write(connection, path(), None, true, broken);
        let ((first, rest), written) = tokio::join!(served, written);
        assert!(matches!(written, Err(TreeWriteError::Content(_))), "{written:?}");
        assert_eq!(first, (Kind::Input, b"some".to_vec()));
        assert_eq!(rest, b"");
    }

    /// A reader of these results, one after the other.
    fn reader_of(mut results: Vec<io::Result<&'static [u8]>>) -> impl AsyncRead + Unpin {
        struct Results<F>(F);
        impl<F: FnMut() -> io::Result<&'static [u8]> + Unpin> AsyncRead for Results<F> {
            fn poll_read(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                buffer.put_slice((self.get_mut().0)()?);
                Poll::Ready(Ok(()))
            }
        }
        Results(move || if results.is_empty() { Ok(&b""[..]) } else { results.remove(0) })
    }
}
