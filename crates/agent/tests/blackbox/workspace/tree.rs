//! A tree is listed as it is, by bytes, up to limits that it says it has reached.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use protocol::{
    GuestPath,
    agent::{Event, FailureKind, Request},
    workspace::{EntryKind, TreeEntry},
};

use super::workspace;
use crate::wire::{Agent, Connection, assert_failure};

fn tree(
    connection: &mut Connection,
    root: &GuestPath,
    entries_max: u64,
    bytes_max: u64,
) -> (Vec<TreeEntry>, Event) {
    connection.lists(&Request::WorkspaceTree { root: root.clone(), entries_max, bytes_max })
}

const WHOLE: Event = Event::Listed { is_whole: true };
const CUT_OFF: Event = Event::Listed { is_whole: false };

#[test]
fn everything_is_there_with_its_kind_whatever_its_name() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let long = "x".repeat(255);
    let names =
        [&b"new\nline"[..], b"\"quotes'", "🦀 crab".as_bytes(), long.as_bytes(), b"no\xff\xfeutf8", b".dot"];
    for (bytes, name) in names.iter().enumerate() {
        fs::write(agent.path("root").join(OsStr::from_bytes(name)), vec![0; bytes]).unwrap();
    }
    fs::create_dir_all(agent.path("root/a/b/empty")).unwrap();
    fs::write(agent.path("root/a/b/c"), "four").unwrap();
    symlink("../outside", agent.path("root/out")).unwrap();
    symlink("nowhere", agent.path("root/a/dangling")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, agent.path("root/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let (mut entries, last) = tree(&mut agent.connect(), &root, 1000, 1 << 20);
    assert_eq!(last, WHOLE);
    // A folder is told before what is in it.
    let position = |path: &[u8]| entries.iter().position(|entry| entry.path == path).unwrap();
    assert!(position(b"a") < position(b"a/b") && position(b"a/b") < position(b"a/b/c"));
    let mut expected: Vec<TreeEntry> = names
        .iter()
        .zip(0..)
        .map(|(name, size_bytes)| TreeEntry { path: name.to_vec(), kind: EntryKind::File { size_bytes } })
        .collect();
    let others = [
        ("a", EntryKind::Folder),
        ("a/b", EntryKind::Folder),
        ("a/b/empty", EntryKind::Folder),
        ("a/b/c", EntryKind::File { size_bytes: 4 }),
        ("out", EntryKind::Link),
        ("a/dangling", EntryKind::Link),
        ("pipe", EntryKind::Other),
    ];
    expected.extend(others.map(|(path, kind)| TreeEntry { path: path.as_bytes().to_vec(), kind }));
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(entries, expected);
}

#[test]
fn limits_hold_and_are_told() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut connection = agent.connect();
    assert_eq!(tree(&mut connection, &root, 0, 0), (Vec::new(), WHOLE));
    fs::create_dir(agent.path("root/d")).unwrap();
    for number in 0..5000 {
        fs::write(agent.path(&format!("root/d/file-{number:04}")), "").unwrap();
    }
    let (all, last) = tree(&mut connection, &root, 5001, 1 << 20);
    assert_eq!((all.len(), last), (5001, WHOLE));
    let (some, last) = tree(&mut connection, &root, 5000, 1 << 20);
    assert_eq!((some.len(), last), (5000, CUT_OFF));
    let (some, last) = tree(&mut connection, &root, 5001, 1 + 10 * 11);
    assert_eq!((some.len(), last), (11, CUT_OFF));
}

#[test]
fn a_folder_is_needed() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::write(agent.path("root/file"), "").unwrap();
    let failed = |name: &str| {
        let root = GuestPath::absolute(&format!("{root}/{name}")).unwrap();
        match tree(&mut agent.connect(), &root, 10, 1000) {
            (entries, Event::Failed(failure)) if entries.is_empty() => failure,
            other => panic!("{other:?}"),
        }
    };
    assert_failure(&failed("none"), FailureKind::NotFound, "none");
    assert_failure(&failed("file"), FailureKind::WrongType, "file");
}
