//! An archive that is not good as a whole is refused with the name of what is wrong, and changes nothing.

use std::{fs, os::unix::fs::symlink};

use protocol::agent::{Event, FailureKind, Request};
use tar::EntryType;

use super::{Archive, tree_read, tree_write, tree_write_as, walked::walked};
use crate::wire::{Agent, assert_failure};

/// Has an archive refused, with and without `clear`, and checks that nothing has changed, inside and beside.
fn refused(archive: &[u8], kind: FailureKind, text: &str) {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("to/folder/sub")).unwrap();
    fs::write(agent.path("to/file"), "old").unwrap();
    fs::write(agent.path("beside"), "beside").unwrap();
    symlink("..", agent.path("to/up")).unwrap();
    symlink("folder", agent.path("to/here")).unwrap();
    let before = walked(&agent.path(""));
    for clear in [true, false] {
        for name in ["to", "made/on the way"] {
            let request = Request::TreeWrite { path: agent.guest_path(name), bytes_max: None, clear };
            let failure = tree_write_as(&mut connection, &request, archive).expect_err(text);
            assert_failure(&failure, kind, text);
            let after = walked(&agent.path(""));
            // The folder of the draft was there for a while.
            let changed = before.iter().zip(&after).filter(|(old, new)| old != new);
            let changed: Vec<_> = changed.map(|((name, _), _)| String::from_utf8_lossy(name)).collect();
            assert!(changed.iter().all(|name| name == "to"), "{text}: {changed:?}");
            assert_eq!(before.len(), after.len(), "{text}");
        }
    }
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}

fn refused_entry(kind: EntryType, name: &str, target: &str, text: &str) {
    let archive = Archive::default().file("good", b"good").entry(kind, name, target, b"").end();
    refused(&archive, FailureKind::Invalid, text);
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../beside", "folder/../../beside", "..", "a/.."] {
        refused_entry(EntryType::Regular, name, "", &format!("{name}: its name has `..`"));
    }
    refused_entry(EntryType::Regular, "/etc/x", "", "/etc/x: its name is absolute");
    refused_entry(EntryType::Directory, "/", "", "its name is absolute");
    refused_entry(EntryType::Regular, ".", "", "replace the folder itself");
    let pax = |name: &[u8]| Archive::default().pax("path", name).file("x", b"x").end();
    refused(&pax(b"../../beside"), FailureKind::Invalid, "its name has `..`");
    refused(&pax(b"a\0b"), FailureKind::Invalid, "NUL");
    refused(&pax(b""), FailureKind::Invalid, "no name");
    refused(&pax(&[b'x'; 256]), FailureKind::Invalid, "over 255 bytes");
    refused(&pax(&b"x/".repeat(300)), FailureKind::Invalid, "more than 256 folders");
    let long = Archive::default().entry(EntryType::GNULongName, "././@LongLink", "", b"../../beside\0");
    refused(&long.file("x", b"x").end(), FailureKind::Invalid, "its name has `..`");
}

#[test]
fn links_out_of_the_tree_are_refused() {
    for (name, target) in
        [("a", ".."), ("a", "../beside"), ("a", "/etc/passwd"), ("b/a", "../../x"), ("a", "/usr/../etc")]
    {
        refused_entry(
            EntryType::Symlink,
            name,
            target,
            &format!("{name}: it is a link out of the tree, to {target}"),
        );
    }
    refused_entry(EntryType::Symlink, "a", "b/../../x", "`..` after a name");
    refused_entry(EntryType::Symlink, "a", "", "no possible path");
    for target in ["../beside", "/etc/passwd"] {
        refused_entry(EntryType::Link, "a", target, &format!("hard link out of the tree, to {target}"));
    }
    for target in ["file", "missing", "folder"] {
        refused_entry(EntryType::Link, "a", target, "which is no file before it");
    }
    refused_entry(EntryType::Link, "good", "good", "hard link to itself");
    let through = Archive::default().entry(EntryType::Symlink, "usr", "/usr", b"").entry(
        EntryType::Link,
        "a",
        "usr/bin/env",
        b"",
    );
    refused(&through.end(), FailureKind::Invalid, "which is no file before it");
    let to_link = Archive::default().entry(EntryType::Symlink, "usr", "/usr/bin/env", b"").entry(
        EntryType::Link,
        "a",
        "usr",
        b"",
    );
    refused(&to_link.end(), FailureKind::Invalid, "which is no file before it");
}

#[test]
fn nothing_is_written_through_a_link() {
    let through =
        |target| Archive::default().entry(EntryType::Symlink, "link", target, b"").file("link/x", b"x").end();
    for target in ["/usr", "here", "."] {
        refused(&through(target), FailureKind::Invalid, "link/x: it is below a file or a symbolic link");
    }
    let folder = Archive::default().entry(EntryType::Symlink, "link", "/usr", b"").entry(
        EntryType::Directory,
        "link",
        "",
        b"",
    );
    refused(&folder.end(), FailureKind::Invalid, "link: it is a folder, and was something else before");
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("to/folder")).unwrap();
    symlink("folder", agent.path("to/here")).unwrap();
    let request = Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: false };
    let failure =
        tree_write_as(&mut connection, &request, &Archive::default().file("here/x", b"x").end()).unwrap_err();
    assert_failure(
        &failure,
        FailureKind::Invalid,
        "here: it is a folder, and in its place is something else",
    );
    assert_eq!(fs::read_dir(agent.path("to/folder")).unwrap().count(), 0);
}

#[test]
fn folders_and_files_never_replace_each_other() {
    let archive = Archive::default().file("a", b"").entry(EntryType::Directory, "a", "", b"").end();
    refused(&archive, FailureKind::Invalid, "a: it is a folder, and was something else before");
    let archive = Archive::default().file("a/b", b"").file("a", b"").end();
    refused(&archive, FailureKind::Invalid, "a: it was a folder before");
    let archive = Archive::default().file("a", b"").file("a/b", b"").end();
    refused(&archive, FailureKind::Invalid, "a/b: it is below a file or a symbolic link");

    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("to/folder")).unwrap();
    fs::write(agent.path("to/file"), "old").unwrap();
    let request = Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: false };
    for (name, text) in [("folder", "in its place is a folder"), ("file/x", "in its place is something else")]
    {
        let archive = Archive::default().file("a new one", b"").file(name, b"").end();
        let failure = tree_write_as(&mut connection, &request, &archive).unwrap_err();
        assert_failure(&failure, FailureKind::Invalid, text);
        let names: Vec<_> = walked(&agent.path("to")).into_keys().collect();
        assert_eq!(names, [&b"file"[..], b"folder"]);
    }
}

#[test]
fn devices_and_unknown_kinds_are_refused() {
    refused_entry(EntryType::Char, "null", "", "null: it is a device");
    refused_entry(EntryType::Block, "disk", "", "disk: it is a device");
    for kind in [b'7', b'D', b'M', b'V', b'N', b'?', b'\xff'] {
        refused_entry(EntryType::new(kind), "x", "", "x: it is of a kind that is not known");
    }
    refused_entry(EntryType::GNUSparse, "x", "", "x: this entry or the next has a sparse format");
    let sparse = Archive::default().pax("GNU.sparse.major", b"1").file("x", b"").end();
    refused(&sparse, FailureKind::Invalid, "sparse format");
    for version in ["GNU.sparse.map", "GNU.sparse.numblocks", "SCHILY.realsize"] {
        let sparse = Archive::default().pax(version, b"1").file("x", b"").end();
        refused(&sparse, FailureKind::Invalid, "sparse format");
    }
}

#[test]
fn maps_of_holes_that_are_wrong_are_refused() {
    let file = |name: &[u8], size: &[u8], content: &[u8]| {
        let records = [
            (&b"GNU.sparse.major"[..], &b"1"[..]),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", name),
            (b"GNU.sparse.realsize", size),
        ];
        Archive::default().records(&records).file("x", content).end()
    };
    let content = |map: &str, data: &[u8]| {
        let mut content = map.as_bytes().to_vec();
        content.resize(512, 0);
        [&content, data].concat()
    };
    for (map, data) in [
        ("", &b""[..]),
        ("x\n", b""),
        ("1\n0\n", b""),
        ("1\n0\n4\n", b""),
        ("1\n0\n4\n", b"12345"),
        ("1\n7\n4\n", b"1234"),
        ("2\n4\n2\n0\n2\n", b"1234"),
        ("1\n18446744073709551615\n4\n", b"1234"),
        ("9999999\n", b""),
    ] {
        let archive = file(b"x", b"10", &content(map, data));
        refused(&archive, FailureKind::Invalid, "x: the map of its holes is damaged");
    }
    refused(&file(b"x", b"10", b""), FailureKind::Invalid, "x: ");
    refused(&file(b"../x", b"10", &content("0\n", b"")), FailureKind::Invalid, "x: ");
    refused(&file(b"x/", b"10", &content("0\n", b"")), FailureKind::Invalid, "no file");
    refused(&file(b"x", b"9223372036854775808", &content("0\n", b"")), FailureKind::Invalid, "impossible");
}

#[test]
fn bombs_are_refused_at_their_limit() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut write = |bytes_max, archive: &[u8]| {
        let request = Request::TreeWrite { path: agent.guest_path("to"), bytes_max, clear: true };
        tree_write_as(&mut connection, &request, archive)
    };
    let content = Archive::default().file("bomb", &[1; 1_000_000]).end();
    let entries =
        (0..1000).fold(Archive::default(), |archive, number| archive.file(&number.to_string(), b""));
    let entries = entries.end();
    let implied = Archive::default().file(&"x/".repeat(49), b"").end();
    for (bytes_max, archive, name) in
        [(900_000, &content, "bomb"), (400_000, &entries, "7"), (20_000, &implied, "x/x")]
    {
        let failure = write(Some(bytes_max), archive).unwrap_err();
        assert_failure(&failure, FailureKind::LimitReached, name);
        assert_failure(&failure, FailureKind::LimitReached, &format!("more than {bytes_max} bytes"));
        assert!(!agent.path("to").exists());
    }
    write(Some(1_001_000), &content).unwrap();
    write(Some(520_000), &entries).unwrap();
    // Zeros take no room, and so count as none.
    let zeros = Archive::default().file("zeros", &vec![0; 3_000_000]).end();
    write(Some(10_000), &zeros).unwrap();
    assert_eq!(fs::metadata(agent.path("to/zeros")).unwrap().len(), 3_000_000);
}

#[test]
fn a_million_entries_are_the_most() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: true });
    // Headers that say nothing are entries as well, and cost no disk.
    let block = Archive::default().entry(EntryType::XGlobalHeader, "g", "", b"").bytes.repeat(1000);
    for _ in 0..1000 {
        connection.input(&block);
    }
    connection.input(&Archive::default().file("one too many", b"").end());
    connection.input_end();
    let Event::Failed(failure) = connection.event() else { panic!("it was taken") };
    assert_failure(&failure, FailureKind::LimitReached, "more than 1000000 entries");
}

#[test]
fn sizes_that_lie_are_refused() {
    let size = |size: u64| {
        Archive::default().with(EntryType::Regular, "x", "", b"content", |header| header.set_size(size)).end()
    };
    refused(&size(1 << 40), FailureKind::Invalid, "x: it ends in the middle of this entry");
    refused(&size(u64::MAX), FailureKind::Invalid, "x: its size is impossible");
    refused(&size(0), FailureKind::Invalid, "damaged after this entry");
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::Fifo] {
        let archive = Archive::default().entry(kind, "x", "y", b"content").end();
        refused(&archive, FailureKind::Invalid, "x: it has content, and is no file");
    }
    let extra = |size: u64| {
        Archive::default().with(EntryType::XHeader, "x", "", b"", |header| header.set_size(size)).end()
    };
    refused(&extra(1 << 40), FailureKind::Invalid, "over 1 MiB");
    for size in [&b"-1"[..], b"", b"1e9", b"99999999999999999999"] {
        let archive = Archive::default().pax("size", size).file("x", b"").end();
        refused(&archive, FailureKind::Invalid, "extended header after this entry is damaged");
    }
}

#[test]
fn incomplete_and_damaged_archives_are_refused() {
    let whole = Archive::default().file("a", &[1; 3000]).pax("mtime", b"1.5").file("b", b"b").end();
    for length in (0..whole.len()).step_by(256) {
        refused(&whole[..length], FailureKind::Invalid, "refuse the archive");
    }
    refused(b"", FailureKind::Invalid, "it is empty or no tar archive");
    refused(&[b'x'; 2000], FailureKind::Invalid, "it is no tar archive");
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    refused(&flipped, FailureKind::Invalid, "it is no tar archive");
    refused(&[&whole[..], b"more"].concat(), FailureKind::Invalid, "something follows its end marker");
    let half = [&[0; 512][..], &whole].concat();
    refused(&half, FailureKind::Invalid, "half an end marker");
    let dangling = Archive::default().file("a", b"").pax("path", b"b").end();
    refused(&dangling, FailureKind::Invalid, "it ends where an entry should follow");
    let twice = Archive::default().pax("path", b"b").pax("path", b"c").file("a", b"").end();
    refused(&twice, FailureKind::Invalid, "two headers of one kind");
    let global = Archive::default().entry(EntryType::XGlobalHeader, "g", "", b"10 path=x\n").file("a", b"");
    refused(&global.end(), FailureKind::Invalid, "a header for all entries that is not taken");
}

#[test]
fn what_is_read_of_hostile_trees_can_be_refused_but_never_leads_out() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("from")).unwrap();
    symlink("../../..", agent.path("from/up")).unwrap();
    let archive = tree_read(&mut connection, agent.guest_path("from")).unwrap();
    let failure = tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap_err();
    assert_failure(&failure, FailureKind::Invalid, "up: it is a link out of the tree, to ../../..");
}
