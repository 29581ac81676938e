//! Takes a tar stream apart as it comes, in pieces of any size, and says what is in it. Every limit that
//! can be told from the bytes alone is held here.
//!
//! It must not know files: what it finds goes to an [`Unpack`].

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
};
use tar::{EntryType, Header};

use super::{
    BLOCK_BYTES, ENTRIES_MAX, EXTRA_BYTES_MAX,
    entry::{Attributes, Entry, Kind, Time},
    name, pax,
    sparse_map::{MapText, SparseMap, Stretch},
};
use crate::failure::failure;

/// Who owns what belongs to an id that a sandbox doesn't have: nobody.
const NOBODY: u32 = 65_534;
/// The highest id of a sandbox.
const ID_MAX: u64 = 65_535;
const MODE_BITS: u32 = 0o7777;

/// Where entries go.
pub(super) trait Unpack {
    /// An entry begins. All content of a file comes before the next.
    fn begin(&mut self, entry: Entry) -> Result<(), Failure>;
    /// So many bytes of the file that was begun are a hole.
    fn hole(&mut self, bytes: u64) -> Result<(), Failure>;
    /// The next bytes of the file that was begun.
    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// The content of the file that was begun is complete.
    fn end(&mut self) -> Result<(), Failure>;
}

/// An archive that has been read to some place.
pub(super) struct Parser {
    /// The folder that the tree is for: symbolic links may lead below it by its absolute path.
    folder: GuestPath,
    place: Place,
    block: Vec<u8>,
    entries: u64,
    zero_blocks: u8,
    /// The name of the current entry, for messages.
    name: Vec<u8>,
    /// What headers in front of the next entry say of it.
    extra: Extra,
    /// What the map of the current file says of what is left of it.
    sparse: Option<Sparse>,
}

enum Place {
    /// In a header.
    Header,
    /// In the content of a file, or of a header that has some (`into`), or in the padding after it.
    Body { left: u64, padding: u64, into: Option<(EntryType, Vec<u8>)> },
    /// In the map of a file of this size, which is part of what is left.
    Map { left: u64, padding: u64, size_bytes: u64, text: MapText },
    /// After the end marker.
    End,
}

/// What stands in front of an entry because its header has no room for it.
#[derive(Default)]
struct Extra {
    is_any: bool,
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size_bytes: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<Time>,
    attributes: Attributes,
    sparse: SparseExtra,
}

/// What is said of a file with holes, in GNU's format 1.0.
#[derive(Default)]
struct SparseExtra {
    is_any: bool,
    version: (Option<u64>, Option<u64>),
    name: Option<Vec<u8>>,
    size_bytes: Option<u64>,
}

/// Where the content of a file with holes goes.
struct Sparse {
    size_bytes: u64,
    /// How much of the file has come.
    offset: u64,
    stretch: Stretch,
    following: std::vec::IntoIter<Stretch>,
}

impl Sparse {
    fn new(map: SparseMap) -> Self {
        let stretch = Stretch { offset: 0, length: 0 };
        Self { size_bytes: map.size_bytes, offset: 0, stretch, following: map.stretches.into_iter() }
    }

    fn content(&mut self, mut bytes: &[u8], unpack: &mut impl Unpack) -> Result<(), Failure> {
        while !bytes.is_empty() {
            if self.stretch.length == 0 {
                let Some(next) = self.following.next() else { return Ok(()) };
                self.stretch = next;
                unpack.hole(next.offset - self.offset)?;
                self.offset = next.offset;
            }
            let length =
                usize::try_from(self.stretch.length).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (taken, rest) = bytes.split_at(length);
            unpack.content(taken)?;
            self.offset += length as u64;
            self.stretch.length -= length as u64;
            bytes = rest;
        }
        Ok(())
    }
}

impl Parser {
    pub(super) fn new(folder: GuestPath) -> Self {
        Self {
            folder,
            place: Place::Header,
            block: Vec::with_capacity(BLOCK_BYTES),
            entries: 0,
            zero_blocks: 0,
            name: Vec::new(),
            extra: Extra::default(),
            sparse: None,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Why the archive is refused, or what `unpack` failed with. Nothing may be pushed after that.
    pub(super) fn push(&mut self, mut bytes: &[u8], unpack: &mut impl Unpack) -> Result<(), Failure> {
        while !bytes.is_empty() {
            bytes = match &mut self.place {
                Place::Header => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.len()));
                    self.block.extend_from_slice(taken);
                    if self.block.len() == BLOCK_BYTES {
                        let block = std::mem::take(&mut self.block);
                        self.header_take(&block, unpack)?;
                        self.block = block;
                        self.block.clear();
                    }
                    rest
                }
                Place::Body { left, into, .. } if *left > 0 => {
                    let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (taken, rest) = bytes.split_at(length);
                    *left -= length as u64;
                    match into {
                        Some((_, content)) => content.extend_from_slice(taken),
                        None => match &mut self.sparse {
                            Some(sparse) => sparse.content(taken, unpack)?,
                            None => unpack.content(taken)?,
                        },
                    }
                    self.body_advance(unpack)?;
                    rest
                }
                Place::Body { padding, .. } => {
                    let length =
                        usize::try_from(*padding).map_or(bytes.len(), |padding| padding.min(bytes.len()));
                    *padding -= length as u64;
                    if *padding == 0 {
                        self.place = Place::Header;
                    }
                    &bytes[length..]
                }
                Place::Map { left, text, .. } => {
                    let length = text.missing().min(bytes.len());
                    let (taken, rest) = bytes.split_at(length);
                    let is_whole = text.push(taken);
                    let enough = left.checked_sub(length as u64);
                    let (Some(is_whole), Some(enough)) = (is_whole, enough) else {
                        return Err(self.refuse("the map of its holes is damaged"));
                    };
                    *left = enough;
                    if is_whole {
                        self.map_take(unpack)?;
                    }
                    rest
                }
                Place::End if bytes.iter().all(|&byte| byte == 0) => &[],
                Place::End => return Err(self.refuse("something follows its end marker")),
            };
        }
        Ok(())
    }

    /// Checks that the archive is complete.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        match self.place {
            Place::End => Ok(()),
            Place::Header if self.entries == 0 && self.zero_blocks == 0 => {
                Err(refusal("it is empty or no tar archive"))
            }
            Place::Header => Err(self.refuse("it ends without its end marker")),
            Place::Body { .. } | Place::Map { .. } => Err(self.refuse("it ends in the middle of this entry")),
        }
    }

    fn header_take(&mut self, block: &[u8], unpack: &mut impl Unpack) -> Result<(), Failure> {
        if block.iter().all(|&byte| byte == 0) {
            if self.extra.is_any {
                return Err(self.refuse("it ends where an entry should follow"));
            }
            self.zero_blocks += 1;
            if self.zero_blocks == 2 {
                self.place = Place::End;
            }
            return Ok(());
        }
        if self.zero_blocks > 0 {
            return Err(self.refuse("half an end marker follows this entry"));
        }
        let header = Header::from_byte_slice(block);
        let mut summed = header.clone();
        summed.set_cksum();
        if !header.cksum().is_ok_and(|sum| summed.cksum().is_ok_and(|right| sum == right)) {
            let place = if self.entries == 0 { "it is no tar archive" } else { "damaged after this entry" };
            return Err(self.refuse(place));
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            let message = format!("refuse the archive: it has more than {ENTRIES_MAX} entries");
            return Err(failure(FailureKind::LimitReached, message));
        }
        match header.entry_type() {
            kind @ (EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink) => self.extra_begin(kind, header, unpack),
            _ => self.entry_begin(header, unpack),
        }
    }

    fn extra_begin(
        &mut self,
        kind: EntryType,
        header: &Header,
        unpack: &mut impl Unpack,
    ) -> Result<(), Failure> {
        let size_bytes = header.entry_size().map_err(|_| self.refuse("damaged after this entry"))?;
        if size_bytes > EXTRA_BYTES_MAX as u64 {
            return Err(self.refuse("the header after this entry is over 1 MiB"));
        }
        self.body_begin(size_bytes, Some((kind, Vec::new())), unpack)
    }

    fn entry_begin(&mut self, header: &Header, unpack: &mut impl Unpack) -> Result<(), Failure> {
        let extra = std::mem::take(&mut self.extra);
        let hollow_bytes = self.hollow_bytes(&extra.sparse)?;
        let name = extra.sparse.name.or(extra.path).unwrap_or_else(|| header.path_bytes().into_owned());
        self.name.clone_from(&name);
        let path = name::normalise(&name).map_err(|why| self.refuse(why))?;
        let damaged = |_| self.refuse("its header is damaged");
        let size_bytes = match extra.size_bytes {
            Some(size_bytes) => size_bytes,
            None => header.entry_size().map_err(damaged)?,
        };
        if i64::try_from(size_bytes).is_err() {
            return Err(self.refuse("its size is impossible"));
        }
        let target = extra
            .target
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let kind = match header.entry_type() {
            // Before POSIX there was no type for folders.
            EntryType::Regular if name.ends_with(b"/") => Kind::Folder,
            EntryType::Regular => Kind::File { size_bytes: hollow_bytes.unwrap_or(size_bytes) },
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink => {
                name::symlink_check(&path, &target, &self.folder)
                    .map_err(|why| self.refuse(&format!("{why}, to {}", name::shown(&target))))?;
                Kind::Symlink { target }
            }
            EntryType::Link => {
                let target = name::normalise(&target).map_err(|_| {
                    self.refuse(&format!("it is a hard link out of the tree, to {}", name::shown(&target)))
                })?;
                if target == path {
                    return Err(self.refuse("it is a hard link to itself"));
                }
                Kind::HardLink { target }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => return Err(self.refuse("it is a device")),
            EntryType::GNUSparse => return Err(self.refuse_sparse()),
            _ => return Err(self.refuse("it is of a kind that is not known here")),
        };
        if path.is_empty() && kind != Kind::Folder {
            return Err(self.refuse("it would replace the folder itself"));
        }
        if (size_bytes > 0 || hollow_bytes.is_some()) && !matches!(kind, Kind::File { .. }) {
            return Err(self.refuse("it has content, and is no file"));
        }
        let owner = |stated: Option<u64>, field: std::io::Result<u64>| match stated {
            Some(id) => Ok(id_of(id)),
            None => field.map(id_of).map_err(damaged),
        };
        let modified = match extra.modified {
            Some(modified) => modified,
            None => Time { seconds: header.mtime().map_err(damaged)?.cast_signed(), nanos: 0 },
        };
        let entry = Entry {
            path,
            mode: header.mode().map_err(damaged)? & MODE_BITS,
            uid: owner(extra.uid, header.uid())?,
            gid: owner(extra.gid, header.gid())?,
            modified,
            attributes: extra.attributes,
            kind,
        };
        let is_file = matches!(entry.kind, Kind::File { .. });
        unpack.begin(entry)?;
        match hollow_bytes {
            Some(hollow_bytes) => {
                let padding = size_bytes.next_multiple_of(BLOCK_BYTES as u64) - size_bytes;
                let text = MapText::default();
                self.place = Place::Map { left: size_bytes, padding, size_bytes: hollow_bytes, text };
                Ok(())
            }
            None if is_file => self.body_begin(size_bytes, None, unpack),
            None => Ok(()),
        }
    }

    /// The size that a file with holes has when it is unpacked; `None` of an entry that is none.
    fn hollow_bytes(&self, sparse: &SparseExtra) -> Result<Option<u64>, Failure> {
        match (sparse.version, sparse.size_bytes) {
            _ if !sparse.is_any => Ok(None),
            ((Some(1), Some(0)), Some(size_bytes)) if sparse.name.is_some() => {
                let is_possible = i64::try_from(size_bytes).is_ok();
                if is_possible { Ok(Some(size_bytes)) } else { Err(self.refuse("its size is impossible")) }
            }
            _ => Err(self.refuse_sparse()),
        }
    }

    /// What is due when a map is whole.
    fn map_take(&mut self, unpack: &mut impl Unpack) -> Result<(), Failure> {
        let Place::Map { left, padding, size_bytes, text } = &self.place else { return Ok(()) };
        let Some(map) = text.map(*size_bytes, *left) else {
            return Err(self.refuse("the map of its holes is damaged"));
        };
        self.sparse = Some(Sparse::new(map));
        self.place = Place::Body { left: *left, padding: *padding, into: None };
        self.body_advance(unpack)
    }

    fn body_begin(
        &mut self,
        left: u64,
        into: Option<(EntryType, Vec<u8>)>,
        unpack: &mut impl Unpack,
    ) -> Result<(), Failure> {
        let padding = left.next_multiple_of(BLOCK_BYTES as u64) - left;
        self.place = Place::Body { left, padding, into };
        self.body_advance(unpack)
    }

    /// What is due when nothing is left of a body.
    fn body_advance(&mut self, unpack: &mut impl Unpack) -> Result<(), Failure> {
        let Place::Body { left: 0, padding, into } = &mut self.place else { return Ok(()) };
        let into = into.take();
        if *padding == 0 {
            self.place = Place::Header;
        }
        match into {
            None => {
                if let Some(sparse) = self.sparse.take() {
                    unpack.hole(sparse.size_bytes - sparse.offset)?;
                }
                unpack.end()
            }
            Some((kind, content)) => self.extra_take(kind, &content),
        }
    }

    fn extra_take(&mut self, kind: EntryType, content: &[u8]) -> Result<(), Failure> {
        let name = || content.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        match kind {
            EntryType::GNULongName if self.extra.path.is_none() => self.extra.path = Some(name()),
            EntryType::GNULongLink if self.extra.target.is_none() => self.extra.target = Some(name()),
            EntryType::XHeader if !self.extra.is_any => self.records_take(content)?,
            // What git and others say of the archive as a whole. What would change its entries is refused.
            EntryType::XGlobalHeader => {
                let records = pax::records(content);
                let is_harmless = |key: &[u8]| {
                    !matches!(key, b"path" | b"linkpath" | b"size") && !key.starts_with(b"GNU.sparse.")
                };
                if !records.is_some_and(|records| records.iter().all(|(key, _)| is_harmless(key))) {
                    return Err(self.refuse("a header for all entries that is not taken follows this entry"));
                }
                return Ok(());
            }
            _ => return Err(self.refuse("two headers of one kind follow this entry")),
        }
        self.extra.is_any = true;
        Ok(())
    }

    fn records_take(&mut self, content: &[u8]) -> Result<(), Failure> {
        let damaged = |parser: &Self| parser.refuse("the extended header after this entry is damaged");
        for (key, value) in pax::records(content).ok_or_else(|| damaged(self))? {
            self.extra.sparse.is_any |= key.starts_with(b"GNU.sparse.");
            let number = || pax::number(value).ok_or_else(|| damaged(self));
            match key {
                b"path" => self.extra.path = Some(value.to_vec()),
                b"linkpath" => self.extra.target = Some(value.to_vec()),
                b"size" => self.extra.size_bytes = Some(number()?),
                b"uid" => self.extra.uid = Some(number()?),
                b"gid" => self.extra.gid = Some(number()?),
                b"mtime" => {
                    self.extra.modified = Some(pax::time_parse(value).ok_or_else(|| damaged(self))?);
                }
                b"SCHILY.realsize" => return Err(self.refuse_sparse()),
                b"GNU.sparse.major" => self.extra.sparse.version.0 = Some(number()?),
                b"GNU.sparse.minor" => self.extra.sparse.version.1 = Some(number()?),
                b"GNU.sparse.name" => self.extra.sparse.name = Some(value.to_vec()),
                b"GNU.sparse.realsize" => self.extra.sparse.size_bytes = Some(number()?),
                key if key.starts_with(b"GNU.sparse.") => return Err(self.refuse_sparse()),
                key => {
                    if let Some(name) = pax::attribute_name(key) {
                        self.extra.attributes.push((name, value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> Failure {
        if self.name.is_empty() {
            refusal(why)
        } else {
            refusal(&format!("{}: {why}", name::shown(&self.name)))
        }
    }

    fn refuse_sparse(&self) -> Failure {
        self.refuse(
            "this entry or the next has a sparse format that is not taken; make the archive without it, holes \
             survive, or in the pax format 1.0",
        )
    }
}

fn id_of(id: u64) -> u32 {
    u32::try_from(id).ok().filter(|_| id <= ID_MAX).unwrap_or(NOBODY)
}

/// The failure of an archive that is refused.
pub(super) fn refusal(why: &str) -> Failure {
    failure(FailureKind::Invalid, format!("refuse the archive: {why}"))
}
