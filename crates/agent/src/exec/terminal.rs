//! The end of a terminal that a person would sit before: what is typed goes in, what the program shows comes out.
//!
//! It must not know execs. What a terminal is to the kernel is in [`crate::sys`].

use std::{io, os::fd::OwnedFd};

use protocol::agent::TerminalSize;
use rustix::{buffer::spare_capacity, io::Errno, process::Uid};
use tokio::io::{Interest, unix::AsyncFd};

use crate::sys;

/// A terminal. When nothing holds it any more, its processes are hung up.
pub(crate) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Makes one that belongs to `owner`, and the program's end of it.
    ///
    /// # Errors
    /// Those of [`sys::terminal_open`] and epoll_ctl(2).
    pub(super) fn open(size: TerminalSize, owner: Option<Uid>) -> io::Result<(Self, OwnedFd)> {
        let (front, back) = sys::terminal_open(size.rows, size.cols, owner)?;
        Ok((Self(sys::descriptor_watch(front)?), back))
    }

    /// Waits until there is something to read, perhaps in vain.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(|_| ())
    }

    /// Reads as much as there is, at most what `into` has room for. 0 when no process holds the terminal any more.
    ///
    /// # Errors
    /// `WouldBlock` among others.
    pub(super) fn try_read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        self.0.try_io(Interest::READABLE, |front| {
            let before = into.len();
            // The kernel gives out a few KiB at once, however much there is.
            while into.len() < into.capacity() {
                match rustix::io::read(front, spare_capacity(into)) {
                    // The other end is closed: pty(7) has no end of file.
                    Ok(0) | Err(Errno::IO) => break,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) if into.len() > before => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
            Ok(into.len() - before)
        })
    }

    /// Types bytes and returns how many were taken, at least one.
    ///
    /// # Errors
    /// When no process holds the terminal any more.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.ready(Interest::WRITABLE).await?;
            // What was typed before may still lie there, so that the kernel would say again and again to try later.
            if ready.ready().is_write_closed() {
                return Err(Errno::IO.into());
            }
            if let Ok(written) = ready.try_io(|front| Ok(rustix::io::write(front.get_ref(), bytes)?)) {
                return written;
            }
        }
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// Those of [`sys::terminal_resize`].
    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        sys::terminal_resize(self.0.get_ref(), size.rows, size.cols)
    }

    /// Signals what runs in its foreground, as its keys would.
    ///
    /// # Errors
    /// Those of [`sys::terminal_signal`].
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        sys::terminal_signal(self.0.get_ref(), signal)
    }
}
