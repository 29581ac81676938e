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
    /// Pieces that come later, and their length together where it is known; 0 after the last.
    Pieces(mpsc::Receiver<io::Result<Piece>>, Option<u64>),
}

/// The end of a body where pieces are put in.
pub(crate) struct Pieces(mpsc::Sender<io::Result<Piece>>);

/// A piece of a body.
pub(crate) struct Piece {
    bytes: Bytes,
    is_last: bool,
}

/// The client reads no more.
#[derive(Debug)]
pub(crate) struct Gone;

/// A body in pieces, of this length if it is known. One piece waits at most: who makes them is as slow as who reads.
pub(crate) fn body_stream(length: Option<u64>) -> (Pieces, Outgoing) {
    let (sender, receiver) = mpsc::channel(1);
    (Pieces(sender), Outgoing::Pieces(receiver, length))
}

impl Pieces {
    /// Puts in the first piece, which is sent together with the answer's head.
    pub(crate) fn begin(&self, piece: impl Into<Bytes>) {
        // There is room for it, and the other end is still to be given away.
        let _ = self.0.try_send(Ok(Piece { bytes: piece.into(), is_last: false }));
    }

    /// Sends a piece.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) async fn send(&self, piece: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(Piece { bytes: piece.into(), is_last: false })).await.map_err(|_| Gone)
    }

    /// Sends the last piece, and the end of the body together with it.
    pub(crate) async fn end(self, piece: impl Into<Bytes>) {
        // Who reads no more needs no end.
        let _ = self.0.send(Ok(Piece { bytes: piece.into(), is_last: true })).await;
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
                match (left, &piece) {
                    (left, Some(Ok(Piece { is_last: true, .. }))) => *left = Some(0),
                    (Some(left), Some(Ok(piece))) => *left = left.saturating_sub(piece.bytes.len() as u64),
                    _ => {}
                }
                Poll::Ready(piece.map(|piece| piece.map(|piece| Frame::data(piece.bytes))))
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
