//! What an archive states of one entry, checked. It must not know files.

use std::io::Read;

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use tar::{Entry, EntryType};

use super::{Refusal, name};

/// The highest id of a sandbox, and who owns what belongs to a higher one: nobody.
const ID_MAX: u64 = 65_535;
const NOBODY: u32 = 65_534;
const MODE_BITS: u32 = 0o7777;
const NANOS_DIGITS: usize = 9;
/// How pax calls an extended attribute.
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
/// The attributes of one entry together, as Linux limits a list of names.
const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

/// One entry.
pub(super) struct Stated {
    /// In normal form.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) meta: Meta,
}

pub(super) enum Kind {
    File,
    Folder,
    Symlink(Vec<u8>),
    /// A further name of what is at this path.
    HardLink(Vec<u8>),
    Fifo,
    Device,
}

/// What it is beside its content.
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timespec,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    /// The time of the last change; that of the last look stays.
    pub(super) fn times(&self) -> Timestamps {
        let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        Timestamps { last_access, last_modification: self.modified }
    }
}

impl Stated {
    pub(super) fn read(entry: &mut Entry<'_, impl Read>) -> Result<Self, Refusal> {
        let called = entry.path_bytes().into_owned();
        let refuse = |why: &str| format!("{}: {why}", name::shown(&called));
        let path = name::normalise(&called).map_err(refuse)?;
        let damaged = |_| refuse("its header is damaged");
        let header = entry.header().clone();
        let target = entry.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
        let kind = match header.entry_type() {
            // Before POSIX there was no type for folders.
            EntryType::Regular if called.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink if target.is_empty() || target.contains(&0) => {
                return Err(refuse("it is a link to no possible path"));
            }
            EntryType::Symlink => Kind::Symlink(target),
            EntryType::Link => {
                let target = name::normalise(&target).map_err(|why| {
                    refuse(&format!("it is a hard link to {}: {why}", name::shown(&target)))
                })?;
                Kind::HardLink(target)
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => Kind::Device,
            _ => return Err(refuse("it is of a kind that is not known here")),
        };
        if path.is_empty() && !matches!(kind, Kind::Folder) {
            return Err(refuse("it would replace the root"));
        }
        let mut meta = Meta {
            mode: header.mode().map_err(damaged)? & MODE_BITS,
            uid: id_of(header.uid().map_err(damaged)?),
            gid: id_of(header.gid().map_err(damaged)?),
            modified: Timespec { tv_sec: header.mtime().map_err(damaged)?.cast_signed(), tv_nsec: 0 },
            attributes: Vec::new(),
        };
        let mut bytes = 0;
        for record in entry.pax_extensions().map_err(damaged)?.into_iter().flatten() {
            let record = record.map_err(damaged)?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            if key.starts_with(b"GNU.sparse.") {
                return Err(refuse(
                    "it is a sparse file in a form that is not read; pack it without --sparse",
                ));
            }
            if key == b"mtime" {
                meta.modified = time_parse(value).ok_or_else(|| refuse("its extended header is damaged"))?;
            }
            if let Some(attribute) = key.strip_prefix(ATTRIBUTE).filter(|attribute| is_kept(attribute)) {
                bytes += attribute.len() + value.len();
                meta.attributes.push((attribute.to_vec(), value.to_vec()));
            }
        }
        if bytes > ATTRIBUTES_BYTES_MAX {
            return Err(refuse("its extended attributes are over 64 KiB"));
        }
        Ok(Self { path, kind, meta })
    }
}

/// Those that programs in a sandbox could have set. What overlayfs reads is not among them.
fn is_kept(attribute: &[u8]) -> bool {
    let is_users = attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.");
    (is_users || attribute == b"security.capability") && !attribute.contains(&0)
}

fn id_of(id: u64) -> u32 {
    if id > ID_MAX { NOBODY } else { id as u32 }
}

/// `12.5`, `-1.5`: seconds since the epoch; digits beyond nanoseconds are dropped.
fn time_parse(text: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let tv_sec: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(NANOS_DIGITS);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + i64::from(digit - b'0'));
    Some(match (whole.starts_with('-'), nanos) {
        (true, 1..) => Timespec { tv_sec: tv_sec.checked_sub(1)?, tv_nsec: 1_000_000_000 - nanos },
        _ => Timespec { tv_sec, tv_nsec: nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds, nanos) in
            [("0", 0, 0), ("12.5", 12, 500_000_000), ("-1", -1, 0), ("-1.5", -2, 500_000_000)]
        {
            assert_eq!(time_parse(text.as_bytes()), Some(Timespec { tv_sec: seconds, tv_nsec: nanos }));
        }
        for text in ["", "x", "1.x", "1e3", "99999999999999999999"] {
            assert_eq!(time_parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn attributes_that_rule_an_overlay_are_not_kept() {
        assert!(is_kept(b"user.a") && is_kept(b"security.capability"));
        for name in
            ["user.overlay.opaque", "trusted.overlay.opaque", "security.selinux", "system.posix_acl_access"]
        {
            assert!(!is_kept(name.as_bytes()), "{name}");
        }
    }
}
