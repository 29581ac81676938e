//! Archives of random bytes, and good ones with a few bytes changed, in pieces of any size: whatever they
//! are, nothing panics and nothing outside of the tree's folder is touched.

use std::{
    fs,
    os::unix::fs::{FileExt, symlink},
    path::Path,
};

use proptest::prelude::*;
use protocol::{GuestPath, agent::Failure};

use super::{
    encode,
    entry::{Entry, Kind, Time},
    sparse_map::{SparseMap, Stretch},
    walk::Walk,
    write::Tree,
};

/// A folder with a tree's folder in it, and what hostile archives would like to reach beside it.
fn folder_make() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("home/to/sub")).unwrap();
    fs::create_dir(folder.path().join("home/beside")).unwrap();
    fs::write(folder.path().join("home/beside/secret"), "secret").unwrap();
    symlink("../beside", folder.path().join("home/to/out")).unwrap();
    folder
}

fn guest_path(folder: &tempfile::TempDir) -> GuestPath {
    GuestPath::absolute(folder.path().join("home/to").to_str().unwrap()).unwrap()
}

fn unpack(path: GuestPath, archive: &[u8], piece_bytes: usize, clear: bool) -> Result<(), Failure> {
    let mut tree = Tree::new(path, Some(1 << 20));
    let mut write = || {
        archive.chunks(piece_bytes).try_for_each(|piece| tree.push(piece))?;
        tree.finish(&[])?;
        tree.commit_now(clear)
    };
    let result = write();
    tree.discard_now();
    result
}

/// Whether all beside the tree's folder is as it was.
fn is_untouched(folder: &Path) -> bool {
    let names = |path: &str| fs::read_dir(folder.join(path)).unwrap().count();
    names("") == 1
        && names("home") == 2
        && names("home/beside") == 1
        && fs::read(folder.join("home/beside/secret")).unwrap() == b"secret"
}

/// An archive with entries of every kind.
fn archive() -> Vec<u8> {
    let mut archive = Vec::new();
    let entry = |path: &[u8], kind| Entry {
        path: path.to_vec(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        modified: Time { seconds: 1, nanos: 2 },
        attributes: vec![(b"user.a".to_vec(), b"b".to_vec())],
    };
    let mut push = |path: &[u8], kind, content: &[u8]| {
        encode::entry_push(&mut archive, &entry(path, kind)).unwrap();
        archive.extend_from_slice(content);
        encode::padding_push(&mut archive, content.len() as u64);
    };
    push(b"sub", Kind::Folder, b"");
    push(b"sub/file", Kind::File { size_bytes: 600 }, &[1; 600]);
    push(b"hard", Kind::HardLink { target: b"sub/file".to_vec() }, b"");
    push(b"link", Kind::Symlink { target: b"sub".to_vec() }, b"");
    push(b"out", Kind::Symlink { target: b"/usr/bin".to_vec() }, b"");
    push(b"pipe", Kind::Fifo, b"");
    push(&[&b"long/".repeat(29)[..], b"x"].concat(), Kind::Folder, b"");
    let stretches = vec![Stretch { offset: 5000, length: 600 }, Stretch { offset: 90_000, length: 424 }];
    let map = SparseMap { size_bytes: 1 << 40, stretches };
    let sparse = entry(b"sub/sparse", Kind::File { size_bytes: map.size_bytes });
    encode::sparse_push(&mut archive, &sparse, &map).unwrap();
    archive.extend_from_slice(&[2; 1024]);
    encode::end_push(&mut archive);
    archive
}

/// Sets the checksums of blocks that look like headers, so that a change gets past them.
fn sums_set(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

#[test]
fn the_archive_that_is_changed_is_good() {
    let folder = folder_make();
    unpack(guest_path(&folder), &archive(), 1000, true).unwrap();
    assert!(folder.path().join("home/to/hard").is_file());
    let sparse = fs::File::open(folder.path().join("home/to/sub/sparse")).unwrap();
    assert_eq!(sparse.metadata().unwrap().len(), 1 << 40);
    let mut start = vec![1; 100_000];
    sparse.read_exact_at(&mut start, 0).unwrap();
    let data: Vec<usize> = (0..start.len()).filter(|&at| start[at] != 0).collect();
    assert_eq!(data, (5000..5600).chain(90_000..90_424).collect::<Vec<_>>());
    assert!(is_untouched(folder.path()));
}

#[test]
fn a_walk_makes_the_same_archive_of_what_it_was_unpacked_to() {
    let (one, two) = (folder_make(), folder_make());
    unpack(guest_path(&one), &archive(), 1 << 20, true).unwrap();
    let mut walk = Walk::open(&guest_path(&one)).unwrap();
    let mut walked = Vec::new();
    while !walk.has_ended() {
        let mut piece = Vec::new();
        walk.piece_push(&mut piece).unwrap();
        walked.extend(piece);
    }
    unpack(guest_path(&two), &walked, 1 << 20, true).unwrap();
    assert!(folder_names(&one) == folder_names(&two));
}

fn folder_names(folder: &tempfile::TempDir) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder.path().join("home/to")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    names
}

/// What a mutation puts somewhere: bytes that mean something in a header.
const SPICE: [&[u8]; 10] = [
    b"../",
    b"/",
    b"..",
    b"\0",
    b"out/x",
    b"link/x",
    b"\xff\xff\xff\xff",
    b"777777",
    b"path=../../x\n",
    b"5",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic_nor_write_anything(
        bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        piece_bytes in 1_usize..700,
        clear: bool,
    ) {
        let folder = folder_make();
        prop_assert!(unpack(guest_path(&folder), &bytes, piece_bytes, clear).is_err());
        prop_assert!(is_untouched(folder.path()));
        prop_assert_eq!(folder_names(&folder), ["out", "sub"]);
    }

    #[test]
    fn changed_archives_never_panic_nor_write_outside(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..340, 0_usize..14, any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        piece_bytes in 1_usize..2000,
        clear: bool,
    ) {
        let mut bytes = archive();
        let blocks = bytes.len() / 512;
        for (block, offset, what, byte) in changes {
            let at = block.index(blocks) * 512 + offset;
            match SPICE.get(what) {
                Some(spice) => bytes[at..at + spice.len()].copy_from_slice(spice),
                // A kind of entry, or any byte anywhere.
                None if what == 10 => bytes[at - offset + 156] = b"01234567xgLKSD"[usize::from(byte) % 14],
                None => bytes[at] = byte,
            }
        }
        sums_set(&mut bytes);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = folder_make();
        let result = unpack(guest_path(&folder), &bytes, piece_bytes, clear);
        prop_assert!(is_untouched(folder.path()));
        if result.is_err() {
            prop_assert_eq!(folder_names(&folder), ["out", "sub"]);
        }
    }
}
