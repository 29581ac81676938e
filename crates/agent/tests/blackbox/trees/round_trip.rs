//! A tree that went out and came in again is the same, and other programs' archives are understood.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use protocol::agent::{Event, FailureKind, Request};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, lsetxattr, mkdirat, mknodat,
    openat, utimensat,
};
use tar::EntryType;

use super::{Archive, archive_by_tar, drafts, tree_read, tree_write, tree_write_as, walked::walked};
use crate::wire::{Agent, Connection, assert_failure};

fn time_set(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mode_set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A tree with one of everything. The folders' times are set last.
fn tree_make(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let path = |name: &str| folder.join(name);
    fs::create_dir_all(path("empty/below")).unwrap();
    fs::write(path(".hidden"), "hidden").unwrap();
    fs::write(path("nothing"), "").unwrap();
    fs::write(path("block"), [7; 512]).unwrap();
    fs::write(path("large"), (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    fs::write(path("set-user-id"), "#!/bin/sh\n").unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"not \xff utf-8\n")), "x").unwrap();
    let long = "n".repeat(255);
    let long_folder = (0..8).fold(folder.to_owned(), |folder, _| folder.join(&long));
    fs::create_dir_all(&long_folder).unwrap();
    fs::write(long_folder.join(OsStr::from_bytes(b"\xfe")), "deep").unwrap();
    fs::hard_link(path("large"), path("empty/large too")).unwrap();
    fs::hard_link(path("large"), path("large too")).unwrap();
    symlink("empty/below", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink(format!("{long}/{long}"), path("long link")).unwrap();
    symlink("/usr/bin/python3", path("empty/python")).unwrap();
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let sparse = fs::File::create(path("sparse")).unwrap();
    sparse.write_all_at(b"middle", 5_000_000).unwrap();
    sparse.set_len(20_000_000).unwrap();

    if rustix::process::geteuid().is_root() {
        chown(path("block"), Some(1234), Some(65_535)).unwrap();
        chown(path("empty"), Some(1), Some(2)).unwrap();
        std::os::unix::fs::lchown(path("dangling"), Some(3), Some(4)).unwrap();
        // `cap_net_raw=p`, as setcap(8) writes it.
        let capability = [&[0, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat();
        lsetxattr(path("set-user-id"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    }
    for (name, value) in [("user.plain", &b"value"[..]), ("user.a=%3D", b"\0\xff\n"), ("user.empty", b"")] {
        lsetxattr(path("block"), name, value, XattrFlags::empty()).unwrap();
        lsetxattr(path("empty"), name, value, XattrFlags::empty()).unwrap();
    }
    for (name, mode) in [("set-user-id", 0o6755), ("empty", 0o1777), ("empty/below", 0o500), ("nothing", 0)] {
        mode_set(&path(name), mode);
    }
    for (name, seconds, nanos) in [
        ("nothing", 0, 0),
        ("block", 1_700_000_000, 123_456_789),
        (".hidden", -2, 500_000_000),
        ("large", 9_000_000_000, 1),
        ("dangling", 1_000, 2),
        ("pipe", 1_000, 3),
        ("empty/below", 5, 6),
        ("empty", 7, 8),
    ] {
        time_set(&path(name), seconds, nanos);
    }
}

fn blocks(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn a_tree_survives_a_round_trip_to_the_last_bit() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    tree_make(&agent.path("from"));
    let archive = tree_read(&mut connection, agent.guest_path("from")).unwrap();
    fs::create_dir(agent.path("to")).unwrap();
    fs::write(agent.path("to/.old"), "goes").unwrap();
    fs::create_dir_all(agent.path("to/large/old")).unwrap();
    tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap();
    assert_eq!(walked(&agent.path("to")), walked(&agent.path("from")));
    assert!(blocks(&agent.path("to/sparse")) < 100_000, "holes are filled");
    // And once more, into a folder that is not there.
    let again = tree_read(&mut connection, agent.guest_path("to")).unwrap();
    tree_write(&mut connection, agent.guest_path("new/folder"), &again).unwrap();
    assert_eq!(walked(&agent.path("new/folder")), walked(&agent.path("from")));
    for folder in ["", "to", "new", "new/folder"] {
        assert_eq!(drafts(&agent, folder), [""; 0], "in {folder:?}");
    }
}

#[test]
fn twenty_thousand_files_survive_a_round_trip() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    for folder in 0..200 {
        let folder = agent.path(&format!("from/{}/{folder}", folder % 7));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..100 {
            fs::write(folder.join(format!("{file}.txt")), format!("{file} in {}", folder.display())).unwrap();
        }
    }
    let archive = tree_read(&mut connection, agent.guest_path("from")).unwrap();
    tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap();
    let (from, to) = (walked(&agent.path("from")), walked(&agent.path("to")));
    assert!(from.len() > 20_000);
    assert!(from == to);
}

#[test]
fn other_programs_read_the_archive_and_write_what_is_read() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    tree_make(&agent.path("from"));
    let all = ["--xattrs", "--xattrs-include=*"];
    fs::write(agent.path("x.tar"), tree_read(&mut connection, agent.guest_path("from")).unwrap()).unwrap();
    fs::create_dir(agent.path("by tar")).unwrap();
    let unpacked = Command::new("tar")
        .args(all)
        .args(["-p", "--numeric-owner", "-xf", "x.tar", "-C", "by tar"])
        .current_dir(agent.path(""))
        .output()
        .unwrap();
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    assert_eq!(walked(&agent.path("by tar")), walked(&agent.path("from")));

    let archive = archive_by_tar(&agent.path("from"), &[&all[..], &["--format=posix"]].concat());
    tree_write(&mut connection, agent.guest_path("pax"), &archive).unwrap();
    assert_eq!(walked(&agent.path("pax")), walked(&agent.path("from")));

    // That format has no attributes and whole seconds.
    let archive = archive_by_tar(&agent.path("from"), &["--format=gnu"]);
    tree_write(&mut connection, agent.guest_path("gnu"), &archive).unwrap();
    let plain = |name| {
        let mut walk = walked(&agent.path(name));
        for found in walk.values_mut() {
            found.attributes.clear();
            found.modified.1 = 0;
        }
        walk
    };
    assert_eq!(plain("gnu"), plain("from"));
}

/// A file of 1 TiB with data at its start, in its middle, and perhaps at its end.
fn vast_make(path: &Path, ends_with_data: bool) {
    let file = fs::File::create(path).unwrap();
    for offset in [0, 1 << 39, (1 << 39) + (3 << 20)] {
        file.write_all_at(b"data", offset).unwrap();
    }
    file.set_len(VAST_BYTES).unwrap();
    if ends_with_data {
        file.write_all_at(b"end", VAST_BYTES - 3).unwrap();
    }
}

const VAST_BYTES: u64 = 1 << 40;

fn assert_vast(path: &Path, ends_with_data: bool) {
    assert_eq!(fs::metadata(path).unwrap().len(), VAST_BYTES, "{}", path.display());
    assert!(blocks(path) < 100_000, "{}: holes are filled", path.display());
    let file = fs::File::open(path).unwrap();
    let at = |offset| {
        let mut bytes = [1; 5];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    for offset in [0, 1 << 39, (1 << 39) + (3 << 20)] {
        assert_eq!(&at(offset), b"data\0", "{}", path.display());
    }
    assert_eq!(
        (at(1 << 30), at(VAST_BYTES - 5)),
        ([0; 5], if ends_with_data { *b"\0\0end" } else { [0; 5] })
    );
}

#[test]
fn holes_cost_nothing_and_gnu_tar_knows_them() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("from")).unwrap();
    let odd = OsStr::from_bytes(b"odd \xff name").to_owned();
    let long = OsStr::new(&"n".repeat(200)).to_owned();
    let names = [OsStr::new("vast").to_owned(), odd, long];
    for name in &names {
        vast_make(&agent.path("from").join(name), *name == names[0]);
    }
    fs::File::create(agent.path("from/hollow")).unwrap().set_len(VAST_BYTES).unwrap();
    fs::write(agent.path("from/last"), "last").unwrap();
    let assert_same = |folder: &str| {
        for name in &names {
            assert_vast(&agent.path(folder).join(name), *name == names[0]);
        }
        let hollow = agent.path(folder).join("hollow");
        assert_eq!((fs::metadata(&hollow).unwrap().len(), blocks(&hollow)), (VAST_BYTES, 0), "{folder}");
        assert_eq!(fs::read(agent.path(folder).join("last")).unwrap(), b"last", "{folder}");
    };

    let archive = tree_read(&mut connection, agent.guest_path("from")).unwrap();
    assert!(archive.len() < 200_000, "{} bytes", archive.len());
    tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap();
    assert_same("to");

    fs::create_dir(agent.path("tar")).unwrap();
    fs::write(agent.path("archive.tar"), &archive).unwrap();
    let mut tar = Command::new("tar");
    let tar =
        tar.arg("-xf").arg(agent.path("archive.tar")).arg("-C").arg(agent.path("tar")).output().unwrap();
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    assert_same("tar");

    let archive = archive_by_tar(&agent.path("from"), &["--sparse", "--format=posix"]);
    tree_write(&mut connection, agent.guest_path("again"), &archive).unwrap();
    assert_same("again");
}

#[test]
fn without_clear_two_trees_become_one() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("to/both/old")).unwrap();
    fs::create_dir_all(agent.path("to/implied")).unwrap();
    mode_set(&agent.path("to/implied"), 0o711);
    fs::write(agent.path("to/both/kept"), "kept").unwrap();
    fs::write(agent.path("to/both/replaced"), "old").unwrap();
    symlink("both", agent.path("to/link")).unwrap();
    let archive = Archive::default()
        .with(EntryType::Directory, "both", "", b"", |header| header.set_mode(0o750))
        .file("both/replaced", b"new")
        .file("both/added/deep", b"deep")
        .file("implied/x", b"x")
        .file("link", b"no link now")
        .end();
    let request = Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: false };
    tree_write_as(&mut connection, &request, &archive).unwrap();
    let walk = walked(&agent.path("to"));
    let names: Vec<_> = walk.keys().map(|name| std::str::from_utf8(name).unwrap()).collect();
    assert_eq!(
        names,
        [
            "both",
            "both/added",
            "both/added/deep",
            "both/kept",
            "both/old",
            "both/replaced",
            "implied",
            "implied/x",
            "link"
        ]
    );
    assert_eq!(walk[&b"both/replaced"[..]].content, b"new");
    assert_eq!(walk[&b"both/kept"[..]].content, b"kept");
    assert_eq!(walk[&b"link"[..]].content, b"no link now");
    assert_eq!(walk[&b"both"[..]].mode & 0o7777, 0o750);
    assert_eq!(walk[&b"both"[..]].modified, (1, 0));
    assert_eq!(walk[&b"implied"[..]].mode & 0o7777, 0o711, "a folder that is not stated stays as it was");
}

#[test]
fn of_two_entries_of_one_name_the_later_counts() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let archive = Archive::default()
        .file("a", b"first and long")
        .entry(EntryType::Symlink, "b", "a", b"")
        .file("a", b"second")
        .file("b", b"no link now")
        .end();
    tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap();
    assert_eq!(fs::read(agent.path("to/a")).unwrap(), b"second");
    assert_eq!(fs::read(agent.path("to/b")).unwrap(), b"no link now");
}

#[test]
fn owners_that_a_sandbox_does_not_have_become_nobody() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let agent = Agent::start();
    let mut connection = agent.connect();
    let archive = Archive::default()
        .with(EntryType::Regular, "in", "", b"", |header| header.set_uid(65_535))
        .with(EntryType::Regular, "over", "", b"", |header| header.set_uid(65_536))
        .pax("gid", b"4294967296")
        .file("far over", b"")
        .end();
    tree_write(&mut connection, agent.guest_path("to"), &archive).unwrap();
    let owner = |name: &str| {
        let found = fs::metadata(agent.path(name)).unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("to/in"), (65_535, 0));
    assert_eq!(owner("to/over"), (65_534, 0));
    assert_eq!(owner("to/far over"), (0, 65_534));
}

#[test]
fn sockets_and_mounts_are_left_out_and_links_not_followed() {
    let agent = Agent::start();
    fs::create_dir_all(agent.path("from/mounted")).unwrap();
    fs::write(agent.path("from/mounted/outside"), "x").unwrap();
    fs::write(agent.path("from/file"), "x").unwrap();
    symlink("/etc", agent.path("from/etc")).unwrap();
    let _listener = UnixListener::bind(agent.path("from/socket")).unwrap();
    // An agent that sees a mount that others don't.
    let mut other = Command::new("unshare")
        .args(if rustix::process::geteuid().is_root() { &[][..] } else { &["--user", "--map-root-user"] })
        .args(["--mount", "sh", "-c"])
        .arg("mount -t tmpfs none from/mounted && mount --bind /etc/hostname from/file && exec \"$0\" --unix own")
        .arg(env!("CARGO_BIN_EXE_atoll-agent"))
        .current_dir(agent.path(""))
        .spawn()
        .unwrap();
    let socket = agent.path("own");
    crate::wire::eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut connection = Connection::new(&socket);
    let archive = tree_read(&mut connection, agent.guest_path("from")).unwrap();
    let names: Vec<_> = tar::Archive::new(&archive[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["etc"]);

    // To clear does not go through a mount either, nor through a link.
    let empty = Archive::default().end();
    tree_write(&mut connection, agent.guest_path("from"), &empty).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(fs::read(agent.path("from/mounted/outside")).unwrap(), b"x");
    assert!(agent.path("from/file").exists() && Path::new("/etc/hostname").exists());
    assert!(fs::symlink_metadata(agent.path("from/etc")).is_err());
}

#[test]
fn a_tree_is_read_from_folders_only() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::write(agent.path("file"), "").unwrap();
    let failure = tree_read(&mut connection, agent.guest_path("file")).unwrap_err();
    assert_failure(&failure, FailureKind::WrongType, "file");
    let failure = tree_read(&mut connection, agent.guest_path("missing")).unwrap_err();
    assert_failure(&failure, FailureKind::NotFound, "missing: No such file");
    let archive = Archive::default().file("a", b"").end();
    let failure = tree_write(&mut connection, agent.guest_path("file"), &archive).unwrap_err();
    assert_failure(&failure, FailureKind::WrongType, "file");
    let failure = tree_write(&mut connection, protocol::GuestPath::root(), &archive).unwrap_err();
    assert_failure(&failure, FailureKind::Invalid, "clear /");
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}

#[test]
fn a_tree_too_deep_for_an_archive_is_said_so_and_can_be_cleared() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    // Deeper than a path can say.
    fs::create_dir(agent.path("from")).unwrap();
    let mut folder = rustix::fs::open(agent.path("from"), OFlags::RDONLY, Mode::empty()).unwrap();
    for _ in 0..900 {
        mkdirat(&folder, "dddddd", Mode::RWXU).unwrap();
        folder = openat(&folder, "dddddd", OFlags::RDONLY, Mode::empty()).unwrap();
    }
    let failure = tree_read(&mut connection, agent.guest_path("from")).unwrap_err();
    assert_failure(&failure, FailureKind::LimitReached, "more than 256 folders");
    tree_write(&mut connection, agent.guest_path("from"), &Archive::default().file("a", b"").end()).unwrap();
    assert_eq!(walked(&agent.path("from")).keys().collect::<Vec<_>>(), [b"a"]);
}
