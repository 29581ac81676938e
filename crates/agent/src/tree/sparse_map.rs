//! Where a file has data: found in the file, and written in front of its content as GNU tar's sparse format 1.0 has it
//! ("Storing Sparse Files" in its manual): a number of stretches, then the offset and length of each, a line for each
//! number, padded to whole blocks.
//!
//! It must not know headers.

use std::fs::File;

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

use super::{BLOCK_BYTES, EXTRA_BYTES_MAX, pax};

/// Below it a file goes out with its holes as zeros, which every program understands.
const HOLES_BYTES_MIN: u64 = 1 << 20;
/// The most stretches that a file goes out with: the last one has all that follows.
const STRETCHES_MAX: usize = 8192;

/// A part of a file that is no hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Stretch {
    fn end(self) -> u64 {
        self.offset + self.length
    }
}

/// The parts of a file of this size that are no holes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SparseMap {
    pub(super) size_bytes: u64,
    pub(super) stretches: Vec<Stretch>,
}

impl SparseMap {
    /// The map of a file with large holes; `None` of any other, and where the file system can't say.
    pub(super) fn of(file: &File, size_bytes: u64) -> Option<Self> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut end = 0;
        while end < size_bytes {
            let offset = match seek(file, SeekFrom::Data(end)) {
                Ok(offset) if offset < size_bytes => offset,
                Ok(_) | Err(Errno::NXIO) => break,
                Err(_) => return None,
            };
            let is_last = stretches.len() + 1 == STRETCHES_MAX;
            end = match seek(file, SeekFrom::Hole(offset)) {
                Ok(hole) if !is_last => hole.min(size_bytes),
                _ => size_bytes,
            };
            stretches.push(Stretch { offset, length: end - offset });
        }
        let map = Self { size_bytes, stretches };
        (size_bytes - map.data_bytes() >= HOLES_BYTES_MIN).then_some(map)
    }

    /// What is no hole.
    pub(super) fn data_bytes(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.length).sum()
    }

    /// The map's text. A file that ends with a hole has an empty stretch there.
    pub(super) fn text(&self) -> Vec<u8> {
        let ends_early = self.stretches.last().is_none_or(|last| last.end() < self.size_bytes);
        let end = ends_early.then_some(Stretch { offset: self.size_bytes, length: 0 });
        let stretches = || self.stretches.iter().copied().chain(end);
        let mut text = format!("{}\n", stretches().count()).into_bytes();
        for Stretch { offset, length } in stretches() {
            text.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
        }
        text.resize(text.len().next_multiple_of(BLOCK_BYTES), 0);
        text
    }

    /// The map in a text; `None` if it is none of a file of this size with so many bytes of data.
    fn parse(text: &[u8], size_bytes: u64, data_bytes: u64) -> Option<Self> {
        let mut numbers = text.split(|&byte| byte == b'\n').map(pax::number);
        let count = numbers.next()??;
        let mut stretches = Vec::new();
        let (mut end, mut sum) = (0_u64, 0_u64);
        for _ in 0..count {
            let stretch = Stretch { offset: numbers.next()??, length: numbers.next()?? };
            let next = stretch.offset.checked_add(stretch.length)?;
            if stretch.offset < end || next > size_bytes {
                return None;
            }
            end = next;
            sum += stretch.length;
            if stretch.length > 0 {
                stretches.push(stretch);
            }
        }
        (sum == data_bytes).then_some(Self { size_bytes, stretches })
    }
}

/// A map's text that comes in pieces.
#[derive(Default)]
pub(super) struct MapText {
    text: Vec<u8>,
    lines: u64,
    /// How many it has, when its first one is there.
    wanted: Option<u64>,
}

impl MapText {
    /// How much of what follows belongs to the block that is not whole yet, or the next one.
    pub(super) fn missing(&self) -> usize {
        BLOCK_BYTES - self.text.len() % BLOCK_BYTES
    }

    /// Takes bytes, no more than are missing. Whether the text is whole; `None` when it never will be.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<bool> {
        self.text.extend_from_slice(bytes);
        self.lines += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        if self.wanted.is_none() && self.lines > 0 {
            let first = self.text.split(|&byte| byte == b'\n').next()?;
            self.wanted = Some(pax::number(first)?.checked_mul(2)?.checked_add(1)?);
        }
        let is_whole = self.text.len().is_multiple_of(BLOCK_BYTES)
            && self.wanted.is_some_and(|wanted| self.lines >= wanted);
        (is_whole || self.text.len() < EXTRA_BYTES_MAX).then_some(is_whole)
    }

    /// The map, when the text is whole; `None` if it is no good one.
    pub(super) fn map(&self, size_bytes: u64, data_bytes: u64) -> Option<SparseMap> {
        SparseMap::parse(&self.text, size_bytes, data_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(size_bytes: u64, stretches: &[(u64, u64)]) -> SparseMap {
        let stretches = stretches.iter().map(|&(offset, length)| Stretch { offset, length }).collect();
        SparseMap { size_bytes, stretches }
    }

    #[test]
    fn maps_survive_a_round_trip_in_pieces_of_any_size() {
        let many: Vec<_> = (0..3000).map(|number| (number << 20, 4096)).collect();
        for map in [
            map(1 << 40, &[]),
            map(10, &[(0, 10)]),
            map(1 << 40, &[(4096, 1), (9000, 5)]),
            map(1 << 40, &many),
        ] {
            let text = map.text();
            for piece_bytes in [1, 7, 512] {
                let mut reading = MapText::default();
                let mut left = &text[..];
                let mut is_whole = false;
                while !is_whole {
                    let (piece, rest) = left.split_at(piece_bytes.min(reading.missing()));
                    is_whole = reading.push(piece).unwrap();
                    left = rest;
                }
                assert!(left.is_empty());
                assert_eq!(reading.map(map.size_bytes, map.data_bytes()), Some(map.clone()));
            }
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in [
            "",
            "x\n",
            "1\n",
            "1\n0\n",
            "1\n0\n11\n",
            "2\n5\n5\n4\n5\n",
            "1\n9\n2\n",
            "1\n0\n9\n",
            "1\n18446744073709551615\n2\n",
            "1\n-1\n10\n",
            "99999999999999999999\n",
        ] {
            assert_eq!(SparseMap::parse(text.as_bytes(), 10, 10), None, "{text:?}");
        }
        assert_eq!(SparseMap::parse(b"2\n0\n10\n10\n0\n\0", 10, 10), Some(map(10, &[(0, 10)])));
        let mut endless = MapText::default();
        assert!((0..1 << 12).any(|_| endless.push(&[b'1'; 512]).is_none()));
    }
}
