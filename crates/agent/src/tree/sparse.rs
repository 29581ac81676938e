//! Files with holes. An archive has a hole as the zeros that a program reads there. Where a file is written,
//! blocks of zeros are left out and so become holes again.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

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

/// A file that is read from its start, up to a size that was announced. What it turns out not to have is
/// zeros, what it has over is left out.
pub(super) struct SparseReader {
    file: File,
    offset: u64,
    size_bytes: u64,
    may_have_holes: bool,
    /// Known to be in a hole up to here.
    hole_end: u64,
}

impl SparseReader {
    pub(super) fn new(file: File, size_bytes: u64) -> io::Result<Self> {
        // `blocks` counts units of 512 bytes, on every file system (stat(2)).
        let may_have_holes = file.metadata()?.blocks().saturating_mul(512) < size_bytes;
        Ok(Self { file, offset: 0, size_bytes, may_have_holes, hole_end: 0 })
    }

    pub(super) fn left_bytes(&self) -> u64 {
        self.size_bytes - self.offset
    }

    /// Appends up to `bytes_max` bytes.
    pub(super) fn read(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
        let begin = out.len();
        if self.may_have_holes && self.offset >= self.hole_end {
            self.hole_end = self.data_after(self.offset);
        }
        let until = if self.offset < self.hole_end { self.hole_end } else { self.size_bytes };
        let wanted = usize::try_from(until - self.offset).map_or(bytes_max, |left| left.min(bytes_max));
        out.resize(begin + wanted, 0);
        if self.offset >= self.hole_end {
            let read = match self.file.read_at(&mut out[begin..], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                read => read?,
            };
            if read == 0 && wanted > 0 {
                // It has become shorter: the rest is a hole.
                (self.may_have_holes, self.hole_end) = (false, self.size_bytes);
                out.truncate(begin);
                return Ok(());
            }
            out.truncate(begin + read);
        }
        self.offset += (out.len() - begin) as u64;
        Ok(())
    }

    /// Where the next data begins, at or after `offset`.
    fn data_after(&mut self, offset: u64) -> u64 {
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data.min(self.size_bytes),
            Err(Errno::NXIO) => self.size_bytes,
            // A file system that can't say.
            Err(_) => {
                self.may_have_holes = false;
                offset
            }
        }
    }
}
