//! Reads a regular file as a stream of frames, in constant memory.

use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
};

use protocol::{
    GuestPath,
    agent::{Event, Failure, FailureKind},
    frame::{Kind, STREAM_BYTES},
};
use rustix::fs::{Mode, OFlags, open};

use super::{JOB_BYTES, MODE_BITS, Worker};
use crate::{
    failure::{failure, failure_os},
    wire::{FrameWriter, WireError},
};

/// Sends [`Event::FileOpened`] and the file's bytes from `offset`, `length` at most. The final event is the
/// caller's.
///
/// # Errors
/// [`WireError`] when the connection breaks; a [`Failure`] inside when the file can't be read.
pub(crate) async fn file_read(
    worker: &Worker,
    writer: FrameWriter<'_>,
    path: GuestPath,
    offset: u64,
    length: Option<u64>,
) -> Result<Result<(), Failure>, WireError> {
    let what = format!("read {path}");
    let opened = worker.run(move || file_open(&path)).await;
    let (file, size_bytes, mode) = match opened {
        Ok(opened) => opened,
        Err(failure) => return Ok(Err(failure)),
    };
    writer.event(&Event::FileOpened { size_bytes, mode }).await?;
    file_send(worker, writer, what, file, offset, length.unwrap_or(u64::MAX)).await
}

/// Sends an open file's bytes from `offset`, `length` at most.
///
/// # Errors
/// As [`file_read`].
pub(crate) async fn file_send(
    worker: &Worker,
    writer: FrameWriter<'_>,
    what: String,
    file: File,
    mut offset: u64,
    length: u64,
) -> Result<Result<(), Failure>, WireError> {
    let mut left = length;
    let mut hold = (file, Vec::new());
    while left > 0 {
        let wanted = usize::try_from(left).map_or(JOB_BYTES, |left| left.min(JOB_BYTES));
        let what = what.clone();
        let read = worker
            .run(move || {
                let (file, mut buffer) = hold;
                buffer.resize(wanted, 0);
                match file.read_at(&mut buffer, offset) {
                    Ok(read) => Ok(((file, buffer), read)),
                    Err(error) => Err(failure_os(what, &error)),
                }
            })
            .await;
        let read = match read {
            Ok((returned, read)) => {
                hold = returned;
                read
            }
            Err(failure) => return Ok(Err(failure)),
        };
        if read == 0 {
            break;
        }
        for piece in hold.1[..read].chunks(STREAM_BYTES) {
            writer.frame(Kind::Output, piece).await?;
        }
        offset += read as u64;
        left -= read as u64;
    }
    Ok(Ok(()))
}

/// The file, its size and its permission bits.
///
/// # Errors
/// When it can't be opened, or is not a regular file.
pub(crate) fn file_open(path: &GuestPath) -> Result<(File, u64, u32), Failure> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer: open(2).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path.as_str(), flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| failure_os(format_args!("open {path}"), &errno.into()))?;
    let found = file.metadata().map_err(|error| failure_os(format_args!("stat {path}"), &error))?;
    if !found.is_file() {
        return Err(failure(FailureKind::WrongType, format!("read {path}: it is not a regular file")));
    }
    Ok((file, found.size(), found.mode() & MODE_BITS))
}
