//! Writes entries as tar headers: ustar, with a pax header in front where that has no room.

use protocol::agent::{Failure, FailureKind};
use tar::{EntryType, Header};

use super::{
    BLOCK_BYTES, EXTRA_BYTES_MAX,
    entry::{Entry, Kind},
    name, pax,
    sparse_map::SparseMap,
};
use crate::failure::failure;

/// Room for names in a header.
const NAME_BYTES: usize = 100;
/// The first size and time that their eleven octal digits can't say.
const OCTAL_END: u64 = 1 << 33;
/// The first owner that seven octal digits can't say.
const OWNER_END: u32 = 1 << 21;

/// Appends an entry's header. Its content, padded to whole blocks, is the caller's.
///
/// # Errors
/// When it has more extended attributes than an archive takes.
pub(super) fn entry_push(out: &mut Vec<u8>, entry: &Entry) -> Result<(), Failure> {
    headers_push(out, entry, None)
}

/// Appends the header of a file with holes, and its map. Only its data, padded together, is the caller's.
///
/// # Errors
/// As those of [`entry_push`].
pub(super) fn sparse_push(out: &mut Vec<u8>, entry: &Entry, map: &SparseMap) -> Result<(), Failure> {
    let text = map.text();
    let packed_bytes = text.len() as u64 + map.data_bytes();
    headers_push(out, entry, Some(packed_bytes))?;
    out.extend_from_slice(&text);
    Ok(())
}

/// Appends the headers of an entry, which is a file with holes if it has another size in the archive.
fn headers_push(out: &mut Vec<u8>, entry: &Entry, packed_bytes: Option<u64>) -> Result<(), Failure> {
    let mut header = Header::new_ustar();
    let mut path = entry.path.clone();
    let mut target: &[u8] = &[];
    let mut size_bytes = 0;
    header.set_entry_type(match &entry.kind {
        Kind::File { size_bytes: bytes } => {
            size_bytes = *bytes;
            EntryType::Regular
        }
        Kind::Folder => {
            path.push(b'/');
            EntryType::Directory
        }
        Kind::Symlink { target: leads_to } => {
            target = leads_to;
            EntryType::Symlink
        }
        Kind::HardLink { target: same_as } => {
            target = same_as;
            EntryType::Link
        }
        Kind::Fifo => EntryType::Fifo,
    });
    header.set_size(size_bytes);
    header.set_mode(entry.mode);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    let seconds = u64::try_from(entry.modified.seconds).unwrap_or(0);
    header.set_mtime(seconds.min(OCTAL_END - 1));

    let mut extra = Vec::new();
    if let Some(packed_bytes) = packed_bytes {
        sparse_records_push(&mut extra, &path, size_bytes);
        // Who doesn't read the records must not take the map for the file's content.
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        path = [b"GNUSparseFile.0/", name].concat();
        path.truncate(NAME_BYTES);
        size_bytes = packed_bytes;
        header.set_size(size_bytes);
    }
    extra_records_push(&mut extra, entry, &path, target, size_bytes);
    if extra.len() > EXTRA_BYTES_MAX {
        let message = format!("archive {}: it has too many extended attributes", name::shown(&entry.path));
        return Err(failure(FailureKind::LimitReached, message));
    }
    if !extra.is_empty() {
        let mut extra_header = Header::new_ustar();
        extra_header.set_entry_type(EntryType::XHeader);
        extra_header.set_size(extra.len() as u64);
        extra_header.set_mode(0o644);
        extra_header.set_uid(0);
        extra_header.set_gid(0);
        extra_header.set_mtime(0);
        header_push(out, &mut extra_header, b"pax", &[]);
        out.extend_from_slice(&extra);
        padding_push(out, extra.len() as u64);
    }
    header_push(out, &mut header, &path, target);
    Ok(())
}

/// Appends what is missing from content of this length to whole blocks.
pub(super) fn padding_push(out: &mut Vec<u8>, content_bytes: u64) {
    let over = usize::try_from(content_bytes % BLOCK_BYTES as u64).unwrap_or(0);
    if over > 0 {
        out.resize(out.len() + BLOCK_BYTES - over, 0);
    }
}

/// Appends the end of an archive.
pub(super) fn end_push(out: &mut Vec<u8>) {
    out.resize(out.len() + 2 * BLOCK_BYTES, 0);
}

fn sparse_records_push(records: &mut Vec<u8>, path: &[u8], size_bytes: u64) {
    if std::str::from_utf8(path).is_err() {
        pax::record_push(records, b"hdrcharset", b"BINARY");
    }
    pax::record_push(records, b"GNU.sparse.major", b"1");
    pax::record_push(records, b"GNU.sparse.minor", b"0");
    pax::record_push(records, b"GNU.sparse.name", path);
    pax::record_push(records, b"GNU.sparse.realsize", size_bytes.to_string().as_bytes());
}

fn extra_records_push(records: &mut Vec<u8>, entry: &Entry, path: &[u8], target: &[u8], size_bytes: u64) {
    let long = [(&b"path"[..], path), (b"linkpath", target)];
    let is_long = |text: &[u8]| text.len() > NAME_BYTES;
    if long.iter().any(|(_, text)| is_long(text) && std::str::from_utf8(text).is_err()) {
        pax::record_push(records, b"hdrcharset", b"BINARY");
    }
    for (key, text) in long {
        if is_long(text) {
            pax::record_push(records, key, text);
        }
    }
    if size_bytes >= OCTAL_END {
        pax::record_push(records, b"size", size_bytes.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id >= OWNER_END {
            pax::record_push(records, key, id.to_string().as_bytes());
        }
    }
    let modified = entry.modified;
    if modified.nanos != 0 || !u64::try_from(modified.seconds).is_ok_and(|seconds| seconds < OCTAL_END) {
        pax::record_push(records, b"mtime", pax::time_text(modified).as_bytes());
    }
    for (attribute, value) in &entry.attributes {
        pax::record_push(records, &pax::attribute_key(attribute), value);
    }
}

fn header_push(out: &mut Vec<u8>, header: &mut Header, path: &[u8], target: &[u8]) {
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, path), (&mut fields.linkname, target)] {
        // What does not fit is in the pax header; this is for those who don't read that.
        let length = text.len().min(NAME_BYTES);
        field[..length].copy_from_slice(&text[..length]);
    }
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}
