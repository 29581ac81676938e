//! A part of a file as the body of an answer, in constant memory.

use std::{fs::File, os::unix::fs::FileExt, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{Outgoing, body_stream};
use crate::{agent::Agent, failure::failure_os};

/// How much is read at once.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// The `length` bytes from `offset`. Should the file have got shorter, the body breaks off.
pub(crate) fn file_body(agent: &Rc<Agent>, file: Arc<File>, offset: u64, length: u64) -> Outgoing {
    if length == 0 {
        return Outgoing::Whole(None);
    }
    let (pieces, body) = body_stream(Some(length));
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let end = offset + length;
        let mut offset = offset;
        while offset < end {
            let wanted = usize::try_from(end - offset).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let source = Arc::clone(&file);
            let read = agent.files.run(move || piece_read(&source, offset, wanted)).await;
            match read {
                Ok(piece) if !piece.is_empty() => {
                    offset += piece.len() as u64;
                    if pieces.send(piece).await.is_err() {
                        return;
                    }
                }
                _ => return pieces.fail().await,
            }
        }
    });
    body
}

/// Reads once; empty at the end of the file.
pub(crate) fn piece_read(file: &File, offset: u64, length: usize) -> Result<Bytes, protocol::agent::Failure> {
    let mut piece = vec![0; length];
    let read = file.read_at(&mut piece, offset).map_err(|error| failure_os("read a file", &error))?;
    piece.truncate(read);
    Ok(piece.into())
}
