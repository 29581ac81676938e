//! The bytes of an archive: decompressed, counted, hashed.

use std::{
    cell::Cell,
    io::{self, BufReader, Cursor, Read},
    rc::Rc,
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use crate::images::digest::Digest;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 << 10;
/// A shorter stream than a header is no archive.
const HEADER_BYTES: u64 = 512;

/// The content of `input`, which is known by its first bytes, whatever it was called.
pub(super) fn decompressed<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    input.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let (is_gzip, is_zstd) = (start.starts_with(&GZIP), start == ZSTD);
    let whole = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(input));
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if is_zstd {
        Box::new(zstd::stream::read::Decoder::with_buffer(whole)?)
    } else {
        Box::new(whole)
    })
}

/// Counts and hashes what is read, and fails when it is too much.
pub(super) struct Metered<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
    bytes_max: u64,
    spent: Rc<Cell<bool>>,
}

impl<R: Read> Metered<R> {
    pub(super) fn new(inner: R, bytes_max: u64) -> Self {
        Self { inner, hasher: Sha256::new(), read: 0, bytes_max, spent: Rc::default() }
    }

    /// Becomes true when it was too much.
    pub(super) fn spent(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.spent)
    }

    pub(super) fn is_short(&self) -> bool {
        self.read < HEADER_BYTES
    }

    pub(super) fn digest(self) -> Digest {
        Digest::from_hasher(self.hasher)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read += bytes as u64;
        if self.read > self.bytes_max {
            self.spent.set(true);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hasher.update(&buffer[..bytes]);
        Ok(bytes)
    }
}
