//! A body that is passed on as it arrives, because it may be larger than what is held in memory. It must not know what
//! is in it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    body::BodyDataStream,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Buf, Bytes};
use futures::Stream;
use tokio::{
    io::{AsyncBufRead, AsyncRead, ReadBuf},
    runtime::Handle,
};

use crate::{
    budget::BodyShare,
    limits::{length_announced, linger},
    patience::Patience,
    reject::Rejection,
};

/// A body as it arrives. A client that is too slow is given up: only the time counts in which somebody waits for it.
/// When it is dropped before its end, the rest is read on for a while, so that the client gets to see the answer.
pub(crate) struct BodyReader {
    /// None at its end.
    stream: Option<BodyDataStream>,
    piece: Bytes,
    patience: Patience,
    /// Whether the client sends it without being asked to, or has been asked.
    under_way: bool,
    trouble: Trouble,
    /// What it holds of the budget for bodies.
    _share: Option<Arc<BodyShare>>,
}

/// What went wrong with a body while somebody else read it.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<Rejection>>>);

impl Trouble {
    /// Takes it, if there was any.
    pub(crate) fn take(&self) -> Option<Rejection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes it, and gives the reader of the body something to stop at.
    fn note(&self, rejection: Rejection) -> io::Error {
        let text = rejection.to_string();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rejection);
        io::Error::other(text)
    }
}

/// A request's body, to be read by somebody else, for whom `memory_bytes` are taken from the budget.
///
/// # Errors
/// [`Rejection::BodyTooLarge`] when the announced length is over `length_max`, [`Rejection::BodyMemory`]. What is not
/// announced is the reader's to count.
pub(crate) async fn body_stream(
    request: Request,
    length_max: u64,
    memory_bytes: usize,
) -> Result<(BodyReader, Trouble), Rejection> {
    let (head, body) = request.into_parts();
    let trouble = Trouble::default();
    let share = head.extensions.get::<Arc<BodyShare>>().cloned();
    let reader = BodyReader {
        stream: Some(body.into_data_stream()),
        piece: Bytes::new(),
        patience: Patience::new(),
        under_way: !awaits_continue(&head.headers),
        trouble: trouble.clone(),
        _share: share.clone(),
    };
    let bytes_max = usize::try_from(length_max).unwrap_or(usize::MAX);
    if length_announced(&head.headers).is_some_and(|length| length > bytes_max) {
        return Err(Rejection::BodyTooLarge { bytes_max });
    }
    if let Some(share) = share {
        share.stream(memory_bytes).await?;
    }
    Ok((reader, trouble))
}

/// Whether the client sends nothing before it is asked to, which is when the body is first read.
fn awaits_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(header::EXPECT)
}

impl AsyncBufRead for BodyReader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        this.under_way = true;
        while this.piece.is_empty()
            && let Some(stream) = &mut this.stream
        {
            match Pin::new(stream).poll_next(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    this.patience.moved(piece.len());
                    this.piece = piece;
                }
                Poll::Ready(Some(Err(error))) => {
                    this.stream = None;
                    return Poll::Ready(Err(this.trouble.note(Rejection::BodyBroken(error))));
                }
                Poll::Ready(None) => this.stream = None,
                Poll::Pending => {
                    ready!(this.patience.poll_over(context));
                    return Poll::Ready(Err(this.trouble.note(Rejection::BodyTimedOut)));
                }
            }
        }
        Poll::Ready(Ok(&this.piece))
    }

    fn consume(self: Pin<&mut Self>, bytes: usize) {
        self.get_mut().piece.advance(bytes);
    }
}

impl AsyncRead for BodyReader {
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

impl Drop for BodyReader {
    fn drop(&mut self) {
        // It may be dropped with the runtime itself.
        if self.under_way
            && let (Some(stream), Ok(_)) = (self.stream.take(), Handle::try_current())
        {
            linger(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use axum::body::Body;
    use futures::{StreamExt, stream};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::limits::tests::request;

    async fn read(body: Body) -> (io::Result<Vec<u8>>, Option<Rejection>) {
        let (mut reader, trouble) = body_stream(request(None, body), 10, 1).await.unwrap();
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes).await.map(|_| bytes);
        (read, trouble.take())
    }

    #[tokio::test]
    async fn a_body_is_passed_on_to_its_end() {
        let pieces = stream::iter(["one ", "", "two"]).map(|it| Ok::<_, io::Error>(Bytes::from(it)));
        let (read, trouble) = read(Body::from_stream(pieces)).await;
        assert_eq!(read.unwrap(), b"one two");
        assert!(trouble.is_none());
    }

    #[tokio::test]
    async fn an_announced_length_over_the_maximum_of_a_stream_is_refused() {
        let never = || Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let refused = body_stream(request(Some("11"), never()), 10, 1).await.err();
        assert!(matches!(refused, Some(Rejection::BodyTooLarge { bytes_max: 10 })));
        assert!(body_stream(request(Some("10"), never()), 10, 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_or_drips_a_stream_is_given_up() {
        let stalled = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]).chain(stream::pending());
        let dripping = stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        for body in [Body::from_stream(stalled), Body::from_stream(dripping)] {
            let (read, trouble) = read(body).await;
            assert!(read.is_err());
            assert!(matches!(trouble, Some(Rejection::BodyTimedOut)), "{trouble:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_is_no_end() {
        let broken = stream::iter([Ok(Bytes::from_static(b"x")), Err(io::Error::other("reset"))]);
        let (read, trouble) = read(Body::from_stream(broken)).await;
        assert!(read.is_err() && matches!(trouble, Some(Rejection::BodyBroken(_))), "{trouble:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_keeps_its_client_waiting_loses_no_patience() {
        let pieces = stream::iter([1, 2, 3]).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"x")));
        let (mut reader, _) = body_stream(request(None, Body::from_stream(pieces)), 10, 1).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert_eq!(reader.read_u8().await.unwrap(), b'x');
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_what_is_refused_is_read_for_a_while_if_it_is_under_way() {
        for (expects, rest) in [(false, 5), (true, 0)] {
            let sent = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&sent);
            let pieces = stream::iter(0..5).map(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok::<_, io::Error>(Bytes::from_static(b"x"))
            });
            let mut request = request(None, Body::from_stream(pieces));
            if expects {
                request.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
            }
            drop(body_stream(request, 10, 1).await.unwrap());
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(sent.load(Ordering::SeqCst), rest);
        }
    }
}
