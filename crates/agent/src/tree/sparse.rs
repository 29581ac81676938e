//! Files with holes. An archive has large ones as a map of what lies between, and small ones as the zeros that a
//! program reads there. Where a file is written, blocks of zeros are left out and so become holes again.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::sparse_map::{SparseMap, Stretch};

/// What file systems allocate at least.
const BLOCK_BYTES: usize = 4096;

/// A new file that is written from its start to its end.
pub(super) struct SparseWriter {
    file: File,
    offset: u64,
}

impl SparseWriter {
    pub(super) fn new(file: File) -> Self {
        Self { file, offset: 0 }
    }

    /// Writes the next bytes. Returns how many took room.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<u64> {
        let mut written = 0;
        while !bytes.is_empty() {
            let (zeros, data) = self.run(bytes);
            self.file.write_all_at(&bytes[zeros..zeros + data], self.offset + zeros as u64)?;
            self.offset += (zeros + data) as u64;
            written += data as u64;
            bytes = &bytes[zeros + data..];
        }
        Ok(written)
    }

    /// Leaves out so many bytes: a hole.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }

    /// The file, as long as what was written.
    pub(super) fn finish(self) -> io::Result<File> {
        self.file.set_len(self.offset)?;
        Ok(self.file)
    }

    /// How many bytes, by whole blocks of the file, are zeros, and how many after them are not.
    fn run(&self, bytes: &[u8]) -> (usize, usize) {
        let into_block = usize::try_from(self.offset % BLOCK_BYTES as u64).unwrap_or(0);
        let first = (BLOCK_BYTES - into_block).min(bytes.len());
        let (head, rest) = bytes.split_at(first);
        let pieces = || std::iter::once(head).chain(rest.chunks(BLOCK_BYTES));
        let length = |pieces: &mut dyn Iterator<Item = &[u8]>| pieces.map(<[u8]>::len).sum::<usize>();
        let zeros = length(&mut pieces().take_while(|piece| is_zero(piece)));
        let data =
            length(&mut pieces().skip_while(|piece| is_zero(piece)).take_while(|piece| !is_zero(piece)));
        (zeros, data)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// A file whose data is read, stretch by stretch, as long as it was announced. What it turns out not to have is zeros,
/// what it has over is left out.
pub(super) struct SparseReader {
    file: File,
    stretch: Stretch,
    following: std::vec::IntoIter<Stretch>,
}

impl SparseReader {
    pub(super) fn new(file: File, map: SparseMap) -> Self {
        let stretch = Stretch { offset: 0, length: 0 };
        Self { file, stretch, following: map.stretches.into_iter() }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stretch.length == 0 && self.following.len() == 0
    }

    /// Appends up to `bytes_max` bytes.
    pub(super) fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
        if self.stretch.length == 0
            && let Some(next) = self.following.next()
        {
            self.stretch = next;
        }
        let begin = out.len();
        let wanted = usize::try_from(self.stretch.length).map_or(bytes_max, |left| left.min(bytes_max));
        out.resize(begin + wanted, 0);
        let read = match self.file.read_at(&mut out[begin..], self.stretch.offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            // It has become shorter, and what is not there was a hole all along.
            Ok(0) => wanted,
            read => read?,
        };
        out.truncate(begin + read);
        self.stretch.offset += read as u64;
        self.stretch.length -= read as u64;
        Ok(())
    }
}
