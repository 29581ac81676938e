//! The connection to a context's process that is the agent's and the driver's alone: lines, both ways.
//!
//! It must not know what they mean.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    rc::Rc,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{io::Interest, net::UnixStream};

/// The longest line that is taken. Drivers keep below it; who goes beyond it is none.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Descriptors that go with a line.
const FDS_MAX: usize = 3;

/// The end for writing.
#[derive(Clone)]
pub(super) struct Control(Rc<UnixStream>);

/// The end for reading.
pub(super) struct Lines {
    stream: Rc<UnixStream>,
    bytes: Vec<u8>,
    /// How many of them hold no newline for sure.
    searched: usize,
}

/// Makes a connection. The last is the driver's end.
///
/// # Errors
/// Those of socketpair(2) and epoll_ctl(2).
pub(super) fn connection_make() -> io::Result<(Control, Lines, OwnedFd)> {
    let (own, theirs) = StdUnixStream::pair()?;
    own.set_nonblocking(true)?;
    let stream = Rc::new(UnixStream::from_std(own)?);
    let lines = Lines { stream: Rc::clone(&stream), bytes: Vec::new(), searched: 0 };
    Ok((Control(stream), lines, theirs.into()))
}

impl Control {
    /// # Errors
    /// When the driver is gone.
    pub(super) async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a line that is short, and descriptors with it.
    ///
    /// # Errors
    /// When the driver is gone, or reads nothing.
    pub(super) async fn send_with(&self, line: &[u8], fds: [BorrowedFd<'_>; FDS_MAX]) -> io::Result<()> {
        let sent = self
            .0
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                ancillary.push(SendAncillaryMessage::ScmRights(&fds));
                Ok(sendmsg(&*self.0, &[IoSlice::new(line)], &mut ancillary, SendFlags::NOSIGNAL)?)
            })
            .await?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

impl Lines {
    /// The next line, without its newline; `None` when there will be none. Who gives up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.bytes[self.searched..]) {
                let rest = self.bytes.split_off(self.searched + length + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                self.searched = 0;
                return Some(line);
            }
            self.searched = self.bytes.len();
            self.stream.readable().await.ok()?;
            self.bytes.reserve(PIECE_BYTES);
            match self.stream.try_read_buf(&mut self.bytes) {
                Ok(0) => return None,
                Ok(_) if self.bytes.len() > LINE_BYTES_MAX => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}
