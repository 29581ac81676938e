//! Layers that are good, and hostile ones. They run as root, as the work itself does, in a folder of their own.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::PathBuf,
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::*;
use crate::images::Digest;

/// An archive of entries whose names are taken as they are, however hostile.
struct Packer(Builder<Vec<u8>>);

impl Packer {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &str, content: &str) -> Self {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if name.contains("suid") { 0o4755 } else { 0o640 });
        header.set_uid(1000);
        header.set_gid(if name.contains("far") { 1_000_000 } else { 50 });
        header.set_mtime(1_600_000_000);
        if is_link {
            header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        header.set_cksum();
        self.0.append(&header, if is_link { &[][..] } else { content.as_bytes() }).unwrap();
        self
    }

    fn file(self, name: &str) -> Self {
        self.add(EntryType::Regular, name, "content")
    }

    fn folder(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The folder that is unpacked into is one below, so that an escape shows.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        Self(temp)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    fn unpack_within(&self, bytes: &[u8], bytes_max: u64) -> Result<Unpacked, Refusal> {
        layer_unpack(bytes, File::open(self.path("")).unwrap().into(), bytes_max)
    }

    fn unpack(&self, packer: Packer) -> Result<Unpacked, Refusal> {
        self.unpack_within(&packer.bytes(), 1 << 20)
    }

    fn escaped(&self) -> bool {
        fs::read_dir(self.0.path()).unwrap().count() != 1
    }
}

fn places(places: &[Place]) -> Vec<String> {
    places.iter().map(|Place(path)| String::from_utf8(path.clone()).unwrap()).collect()
}

#[test]
fn entries_get_what_is_stated_of_them() {
    let site = Site::new();
    let packer = Packer::new()
        .folder("./")
        .folder("./bin/")
        .file("./bin/suid")
        .add(EntryType::Link, "bin/other", "./bin/suid")
        .add(EntryType::Symlink, "bin/sh", "/usr/bin/bash")
        .add(EntryType::Fifo, "pipe", "")
        .add(EntryType::Char, "null", "")
        .file("far");
    let unpacked = site.unpack(packer).unwrap();
    assert_eq!((unpacked.entries, unpacked.skipped), (8, 1), "the device was not made");
    let suid = fs::metadata(site.path("bin/suid")).unwrap();
    assert_eq!(
        (suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime()),
        (0o4755, 1000, 50, 1_600_000_000)
    );
    assert_eq!((suid.nlink(), suid.ino()), (2, fs::metadata(site.path("bin/other")).unwrap().ino()));
    assert_eq!(fs::read_link(site.path("bin/sh")).unwrap(), PathBuf::from("/usr/bin/bash"));
    assert!(fs::symlink_metadata(site.path("pipe")).unwrap().file_type().is_fifo());
    assert!(!site.path("null").exists());
    assert_eq!(fs::metadata(site.path("far")).unwrap().gid(), 65_534, "nobody's");
    let folder = fs::metadata(site.path("bin")).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.mtime()), (0o640, 1_600_000_000), "after all that is in it");
}

#[test]
fn compression_is_known_by_its_bytes_and_the_digest_is_of_what_is_inside() {
    use std::io::Write as _;
    let plain = Packer::new().file("a").bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bytes in [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap()] {
        let site = Site::new();
        let unpacked = site.unpack_within(&bytes, 1 << 20).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&plain));
        assert_eq!(fs::read_to_string(site.path("a")).unwrap(), "content");
        let cut = &bytes[..bytes.len() / 8];
        assert!(Site::new().unpack_within(cut, 1 << 20).is_err(), "a part is not the whole");
    }
}

#[test]
fn whiteouts_are_what_overlayfs_reads() {
    let site = Site::new();
    let packer = Packer::new()
        .file("etc/.wh.gone")
        .file("var/cache/.wh..wh..opq")
        .file("var/cache/kept")
        .file(".wh.replaced")
        .file("replaced/new")
        .folder("again/")
        .file(".wh.again")
        .file(".wh.file")
        .file("file")
        .file("later")
        .file(".wh.later")
        .file(".wh..wh.plnk");
    let unpacked = site.unpack(packer).unwrap();
    let gone = fs::symlink_metadata(site.path("etc/gone")).unwrap();
    assert_eq!((gone.file_type().is_char_device(), gone.rdev()), (true, 0));
    assert_eq!(places(&unpacked.opaque), ["again", "replaced", "var/cache"]);
    assert_eq!(places(&unpacked.implied), ["", "etc", "replaced", "var", "var/cache"]);
    for name in ["var/cache/kept", "replaced/new", "file", "later"] {
        assert_eq!(fs::read_to_string(site.path(name)).unwrap(), "content", "{name}");
    }
    let names = fs::read_dir(site.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".wh")));
}

#[test]
fn a_link_within_the_layer_is_followed_below_it() {
    let site = Site::new();
    let packer = Packer::new().folder("usr/lib/").add(EntryType::Symlink, "lib", "usr/lib").file("lib/x");
    site.unpack(packer).unwrap();
    assert!(site.path("usr/lib/x").exists());
}

#[test]
fn hostile_entries_are_refused_and_reach_nothing() {
    let new = Packer::new;
    for (what, packer, word) in [
        ("absolute", new().file("/etc/x"), "absolute"),
        ("dots", new().file("a/../../x"), "`..`"),
        ("dots", new().folder("../x"), "`..`"),
        ("through a link", new().add(EntryType::Symlink, "a", "..").file("a/x"), "leads out"),
        ("through an absolute link", new().add(EntryType::Symlink, "a", "/").file("a/tmp/x"), "leads out"),
        (
            "through links",
            new().folder("d").add(EntryType::Symlink, "d/a", "../..").file("d/a/x"),
            "leads out",
        ),
        ("a loop", new().add(EntryType::Symlink, "a", "a").file("a/x"), "leads out"),
        ("below a file", new().file("a").file("a/x"), "no folder"),
        ("hard link out", new().add(EntryType::Link, "a", "../../etc/passwd"), "hard link"),
        ("absolute hard link", new().add(EntryType::Link, "a", "/etc/passwd"), "hard link"),
        ("hard link to a later one", new().add(EntryType::Link, "a", "b").file("b"), "before it"),
        ("hard link to a folder", new().folder("b").add(EntryType::Link, "a", "b"), "before it"),
        ("hard link to itself", new().file("a").add(EntryType::Link, "a", "a"), "before it"),
        (
            "hard link through a link",
            new().add(EntryType::Symlink, "l", "..").add(EntryType::Link, "a", "l/x"),
            "before it",
        ),
        ("hard link to a whiteout", new().file(".wh.x").add(EntryType::Link, "a", "x"), "before it"),
        ("whiteout out", new().add(EntryType::Symlink, "a", "..").file("a/.wh.root"), "leads out"),
        ("whiteout of dots", new().file("a/.wh..."), "no name"),
        ("whiteout of nothing", new().file(".wh."), "no name"),
        ("opaque out", new().add(EntryType::Symlink, "a", "..").file("a/.wh..wh..opq"), "leads out"),
        ("below a whiteout", new().file(".wh.a/b"), "below a whiteout"),
        ("the root as a file", new().file("."), "root"),
        ("the root as a link", new().add(EntryType::Symlink, ".", "/"), "root"),
        ("a folder as a file", new().file("a/x").file("a"), "folder before"),
        ("unknown kind", new().add(EntryType::new(b'Z'), "a", ""), "kind"),
    ] {
        let site = Site::new();
        let refused = site.unpack(packer);
        assert!(!site.escaped(), "{what}: something is outside");
        let why = refused.expect_err(what);
        assert!(why.contains(word), "{what}: {why}");
    }
}

#[test]
fn a_link_that_is_replaced_by_a_folder_is_not_written_through() {
    let site = Site::new();
    let packer = Packer::new().add(EntryType::Symlink, "a", "..").folder("a/").file("a/x");
    site.unpack(packer).unwrap();
    assert!(!site.escaped() && site.path("a/x").exists());
    let site = Site::new();
    fs::write(site.0.path().join("victim"), "untouched").unwrap();
    site.unpack(Packer::new().add(EntryType::Symlink, "v", "../victim").file("v")).unwrap();
    assert_eq!(fs::read_to_string(site.0.path().join("victim")).unwrap(), "untouched");
    assert!(site.path("v").symlink_metadata().unwrap().is_file());
}

#[test]
fn what_expands_without_end_is_stopped() {
    use std::io::Write as _;
    let mut header = Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(1 << 30);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(header.as_bytes()).unwrap();
    io::copy(&mut io::repeat(0).take(8 << 20), &mut gzip).unwrap();
    let site = Site::new();
    let why = site.unpack_within(&gzip.finish().unwrap(), 1 << 20).unwrap_err();
    assert!(why.contains("more than 1048576 bytes"), "{why}");
    assert!(fs::metadata(site.path("zeros")).unwrap().len() <= 1 << 20);
    let many = (0..4000).fold(Packer::new(), |packer, number| packer.file(&format!("{number}")));
    let why = Site::new().unpack_within(&many.bytes(), 1 << 20).unwrap_err();
    assert!(why.contains("more than"), "{why}");
    let mut zeros_after = Packer::new().file("a").bytes();
    zeros_after.resize(2 << 20, 0);
    assert!(Site::new().unpack_within(&zeros_after, 1 << 20).is_err(), "also behind the end marker");
}

#[test]
fn what_is_no_archive_is_refused() {
    for bytes in [&b""[..], b"x", &[7; 4096], &[0x1f, 0x8b, 0, 0], &[0x28, 0xb5, 0x2f, 0xfd, 0]] {
        let why = Site::new().unpack_within(bytes, 1 << 20).unwrap_err();
        assert!(why.contains("damaged") || why.contains("no tar"), "{why}");
    }
    let empty = Site::new().unpack(Packer::new()).unwrap();
    assert_eq!(empty.entries, 0, "an empty layer is one");
}

#[test]
fn an_answer_is_one_line_of_json() {
    let site = Site::new();
    let mut output = Vec::new();
    let root = || File::open(site.path("")).unwrap().into();
    assert!(unpack_serve(&Packer::new().file("a").bytes()[..], root(), 1 << 20, &mut output));
    let answer: Answer = serde_json::from_slice(&output).unwrap();
    assert!(matches!(answer, Answer::Unpacked(Unpacked { entries: 1, .. })), "{answer:?}");
    output.clear();
    assert!(!unpack_serve(&Packer::new().file("\u{1b}[2J/../x").bytes()[..], root(), 1 << 20, &mut output));
    let Answer::Refused(why) = serde_json::from_slice(&output).unwrap() else { panic!("taken") };
    assert!(!why.contains('\u{1b}') && why.contains("`..`"), "{why}");
}
