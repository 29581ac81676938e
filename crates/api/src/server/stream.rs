//! A connection's socket as hyper sees it: one that fails when the client does not read. It must not know
//! HTTP.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{budget::Unwritten, patience::Patience};

/// What the parts of the server that look after one connection tell each other.
#[derive(Default)]
pub(super) struct Traffic {
    /// The shares of answers that are not written yet.
    pub(super) unwritten: Unwritten,
    /// Something was begun to be written and is not all in the socket.
    writing: AtomicBool,
    /// A request is under way whose client would understand a `100 Continue`, and nothing of its answer is
    /// there.
    pub(super) awaited: AtomicBool,
    /// The latest answer is a stream of events.
    pub(super) events: AtomicBool,
}

impl Traffic {
    /// Whether bytes may be written past hyper: between two messages.
    pub(super) fn probe_fits(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && !self.writing.load(Ordering::Relaxed)
    }
}

/// The socket.
pub(super) struct Stream {
    socket: Arc<TcpStream>,
    traffic: Arc<Traffic>,
    patience: Patience,
}

impl Stream {
    pub(super) fn new(socket: Arc<TcpStream>, traffic: Arc<Traffic>) -> Self {
        Self { socket, traffic, patience: Patience::new() }
    }

    fn poll_written(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.traffic.writing.store(true, Ordering::Relaxed);
        loop {
            match self.socket.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                // Only here the client is waited for: that a program has nothing to say does not count.
                Poll::Pending => {
                    ready!(self.patience.poll_over(cx));
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the client does not read its answer",
                    )));
                }
            }
            match write(&self.socket) {
                Ok(bytes) => {
                    self.patience.moved(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read_buf(buf) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_written(cx, |socket| socket.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper calls it when it has written all that it had.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.traffic.writing.swap(false, Ordering::Relaxed) {
            self.patience.renew();
        }
        self.traffic.unwritten.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write))
    }
}
