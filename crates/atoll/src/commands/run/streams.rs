//! The two ends of `atoll run` that somebody sits at: standard input to the program, its output to ours.
//!
//! Each has a thread of its own: reading and writing here may block for as long as it likes while the run goes
//! on, is ended at its time limit, or is interrupted. It must not know sandboxes.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    thread,
    time::Duration,
};

use engine::{LogStream, program::OutputPiece};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::sync::{mpsc, oneshot};

use crate::terminal::say;

/// Pieces on their way in each direction. With the size of a piece, what a run holds of a stream.
pub(super) const PIECES: usize = 16;
/// How much is read of standard input at once.
const PIECE_BYTES: usize = 64 << 10;
/// How often a run in the background looks whether it was brought to the foreground.
const FOREGROUND_POLL: Duration = Duration::from_millis(200);

/// Passes standard input on, at the speed at which it is taken, to its end.
pub(super) fn input_read() -> io::Result<mpsc::Receiver<Vec<u8>>> {
    let (pieces, receiver) = mpsc::channel(PIECES);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        if let Err(error) = input_pass(rustix::stdio::stdin(), &pieces) {
            say(format_args!("atoll: read standard input: {error}; the program is told that it ends here"));
        }
    })?;
    Ok(receiver)
}

/// An input of which nothing is left.
pub(super) fn input_none() -> mpsc::Receiver<Vec<u8>> {
    mpsc::channel(1).1
}

fn input_pass(input: BorrowedFd<'_>, pieces: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let is_terminal = input.is_terminal();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        if is_terminal {
            foreground_await(input)?;
        }
        match rustix::io::read(input, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            // Nobody takes it any more: the run is over.
            Ok(read) if pieces.blocking_send(buffer[..read].to_vec()).is_err() => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => ready_await(input, PollFlags::IN)?,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until something was typed for this process. One in the background that reads from its terminal is
/// stopped by the kernel (SIGTTIN), also if its program wants no input.
fn foreground_await(terminal: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        ready_await(terminal, PollFlags::IN)?;
        match rustix::termios::tcgetpgrp(terminal) {
            Ok(group) if group != rustix::process::getpgrp() => thread::sleep(FOREGROUND_POLL),
            _ => return Ok(()),
        }
    }
}

/// Writes output as it comes. The receiver learns how that ended: at the end of the run, or because it can't
/// be written.
pub(super) fn output_write(
    mut pieces: mpsc::Receiver<OutputPiece>,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (ended, receiver) = oneshot::channel();
    thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut written = Ok(());
        while written.is_ok()
            && let Some((stream, bytes)) = pieces.blocking_recv()
        {
            written = match stream {
                LogStream::Stdout => whole_write(rustix::stdio::stdout(), &bytes),
                LogStream::Stderr => whole_write(rustix::stdio::stderr(), &bytes),
            };
        }
        let _ = ended.send(written);
    })?;
    Ok(receiver)
}

fn whole_write(output: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(output, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Another process has made the terminal or pipe that it shares with this one non-blocking.
            Err(Errno::AGAIN) => ready_await(output, PollFlags::OUT)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn ready_await(end: BorrowedFd<'_>, flags: PollFlags) -> io::Result<()> {
    let mut ends = [PollFd::from_borrowed_fd(end.as_fd(), flags)];
    match poll(&mut ends, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
