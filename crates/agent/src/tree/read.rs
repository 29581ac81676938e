//! Answers a request for a tree: its archive as frames, made no faster than they are taken.

use protocol::{
    GuestPath,
    agent::Failure,
    frame::{Kind, STREAM_BYTES},
};

use super::walk::Walk;
use crate::{
    files::Worker,
    wire::{FrameWriter, WireError},
};

/// Sends the archive of everything below a folder. The final event is the caller's.
///
/// # Errors
/// [`WireError`] when the connection breaks; a [`Failure`] inside when something can't be read.
pub(crate) async fn tree_read(
    worker: &Worker,
    writer: FrameWriter<'_>,
    path: GuestPath,
) -> Result<Result<(), Failure>, WireError> {
    let mut hold = match worker.run(move || Ok((Walk::open(&path)?, Vec::new()))).await {
        Ok(hold) => hold,
        Err(failure) => return Ok(Err(failure)),
    };
    while !hold.0.has_ended() {
        let piece = worker
            .run(move || {
                let (mut walk, mut piece) = hold;
                piece.clear();
                walk.piece_push(&mut piece)?;
                Ok((walk, piece))
            })
            .await;
        hold = match piece {
            Ok(hold) => hold,
            Err(failure) => return Ok(Err(failure)),
        };
        for piece in hold.1.chunks(STREAM_BYTES) {
            writer.frame(Kind::Output, piece).await?;
        }
    }
    Ok(Ok(()))
}
