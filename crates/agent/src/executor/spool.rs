//! Output that is kept until a command has ended: a little in memory, the rest in a file without a name.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use super::utf8::Utf8;
use crate::{
    agent::Agent,
    failure::failure_os,
    files::scratch_file,
    http::{Gone, PIECE_BYTES, Pieces, piece_read},
};

/// How much is kept in memory.
const MEMORY_BYTES_MAX: usize = 1 << 20;
/// How much is kept in all. What comes then is dropped.
const BYTES_MAX: u64 = 1 << 30;

/// The output of one stream.
#[derive(Default)]
pub(super) struct Spool {
    /// What follows that in the file.
    memory: Vec<u8>,
    file: Option<Arc<File>>,
    file_bytes: u64,
    /// What there was no room for.
    pub(super) dropped_bytes: u64,
}

impl Spool {
    /// Adds output.
    pub(super) async fn push(&mut self, agent: &Agent, bytes: &[u8]) {
        if self.dropped_bytes > 0 {
            self.dropped_bytes += bytes.len() as u64;
            return;
        }
        self.memory.extend_from_slice(bytes);
        if self.memory.len() >= MEMORY_BYTES_MAX {
            self.memory_write(agent).await;
        }
    }

    async fn memory_write(&mut self, agent: &Agent) {
        let (memory, file, offset) = (std::mem::take(&mut self.memory), self.file.clone(), self.file_bytes);
        let bytes = memory.len() as u64;
        let write = move || {
            let file = file.map_or_else(|| scratch_file().map(Arc::new), Ok)?;
            file.write_all_at(&memory, offset).map_err(|error| failure_os("keep output", &error))?;
            Ok((file, memory))
        };
        let written = if offset + bytes > BYTES_MAX { None } else { agent.files.run(write).await.ok() };
        match written {
            Some((file, mut memory)) => {
                memory.clear();
                (self.memory, self.file, self.file_bytes) = (memory, Some(file), offset + bytes);
            }
            None => self.dropped_bytes += bytes,
        }
    }

    /// Whether all of it is in memory.
    pub(super) fn is_small(&self) -> bool {
        self.file.is_none()
    }

    /// Appends what is in memory, as text in JSON.
    pub(super) fn memory_push(&self, out: &mut Vec<u8>) {
        let mut text = Utf8::default();
        text.push(&self.memory, out);
        text.end(out);
    }

    /// Sends all of it as text in JSON, but for the last of it, which is left in `out`.
    ///
    /// # Errors
    /// [`Gone`], also when the file can't be read.
    pub(super) async fn send(&self, agent: &Agent, pieces: &Pieces, out: &mut Vec<u8>) -> Result<(), Gone> {
        let mut text = Utf8::default();
        let mut offset = 0;
        while let Some(file) = self.file.clone().filter(|_| offset < self.file_bytes) {
            let length =
                usize::try_from(self.file_bytes - offset).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let read = agent.files.run(move || piece_read(&file, offset, length)).await;
            let piece = read.ok().filter(|piece| !piece.is_empty()).ok_or(Gone)?;
            offset += piece.len() as u64;
            text.push(&piece, out);
            pieces.send(std::mem::take(out)).await?;
        }
        text.push(&self.memory, out);
        text.end(out);
        Ok(())
    }
}
