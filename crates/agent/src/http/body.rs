//! What is sent as a body: whole, or in pieces that wait for whoever reads.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) enum Outgoing {
    /// All of it; taken when it was sent.
    Whole(Option<Bytes>),
    /// Pieces that come later, and their length together where it is known.
    Pieces(mpsc::Receiver<io::Result<Bytes>>, Option<u64>),
}

/// The end of a body where pieces are put in.
pub(crate) struct Pieces(mpsc::Sender<io::Result<Bytes>>);

/// The client reads no more.
#[derive(Debug)]
pub(crate) struct Gone;

/// A body in pieces, of this length if it is known. One piece waits at most: who makes them is as slow as who reads.
pub(crate) fn body_stream(length: Option<u64>) -> (Pieces, Outgoing) {
    let (sender, receiver) = mpsc::channel(1);
    (Pieces(sender), Outgoing::Pieces(receiver, length))
}

impl Pieces {
    /// Sends a piece.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(piece.into())).await.map_err(|_| Gone)
    }

    /// Breaks the body off, so that the client can tell that it is not whole.
    pub(crate) async fn fail(self) {
        let _ = self.0.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
    }

    /// Waits until the client reads no more.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces, left) => {
                let piece = std::task::ready!(pieces.poll_recv(context));
                if let (Some(left), Some(Ok(piece))) = (left, &piece) {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Pieces(_, left) => *left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(_, Some(left)) => SizeHint::with_exact(*left),
            Self::Pieces(_, None) => SizeHint::default(),
        }
    }
}
