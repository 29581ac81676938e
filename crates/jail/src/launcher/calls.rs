//! The launcher's end of the socket pair: whole datagrams in, whole datagrams out.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use protocol::launcher::{Call, DATAGRAM_BYTES_MAX, Reply};
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
        sendmsg,
    },
};

/// What came in.
pub(super) enum Incoming {
    /// A request.
    Call(Call),
    /// Nothing more for now.
    Nothing,
    /// The server is gone.
    Closed,
}

/// Takes the next request. Descriptors that come along are closed: no request has any.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Incoming {
    let mut control = RecvAncillaryBuffer::new(&mut []);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::DONTWAIT);
    match received {
        Ok(message) if message.bytes == 0 => Incoming::Closed,
        Ok(message) => match postcard::take_from_bytes(&buffer[..message.bytes]) {
            Ok((call, [])) => Incoming::Call(call),
            _ => {
                // A server that sends what this launcher was not built with is not one to serve.
                super::tell("malformed request; closing");
                Incoming::Closed
            }
        },
        Err(Errno::AGAIN | Errno::INTR) => Incoming::Nothing,
        Err(_) => Incoming::Closed,
    }
}

/// A buffer that any datagram fits into.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; DATAGRAM_BYTES_MAX]
}

/// Sends a reply, with a descriptor if it has one. Waits if the server is slow to read.
pub(super) fn send(socket: &OwnedFd, reply: &Reply, fd: Option<BorrowedFd<'_>>) {
    let Ok(bytes) = postcard::to_stdvec(reply) else { return };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => {
                let mut poll = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::OUT)];
                let _ = rustix::event::poll(&mut poll, None);
            }
            Err(Errno::INTR) => {}
            // A server that is gone shows at the next receive.
            _ => return,
        }
    }
}
