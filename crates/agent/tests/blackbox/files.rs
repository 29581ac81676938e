//! Files go in and out whole, atomically, and only where files can be.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
    thread,
};

use protocol::{
    GuestPath,
    agent::{Event, FailureKind, Request},
    frame::Kind,
};

use crate::wire::{Agent, Connection, assert_failure, eventually};

fn failed(event: Event) -> protocol::agent::Failure {
    match event {
        Event::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn mode_of(path: std::path::PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Names in a folder, the agent's own drafts among them, without the socket.
fn names(agent: &Agent, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(agent.path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "agent.sock")
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn fifty_megabytes_survive_a_round_trip_in_constant_memory() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let content: Vec<u8> =
        (0..13_107_200_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    assert_eq!(connection.file_write(agent.guest_path("small"), 0o600, b"warm up"), Event::Done);
    let before = agent.rss_bytes();
    assert_eq!(connection.file_write(agent.guest_path("big"), 0o644, &content), Event::Done);
    assert!(fs::read(agent.path("big")).unwrap() == content);
    let (size, mode, read) = connection.file_read(agent.guest_path("big"), 0, None).unwrap();
    assert_eq!((size, mode), (content.len() as u64, 0o644));
    assert!(read == content);
    let grown = agent.rss_bytes().saturating_sub(before);
    assert!(grown < 3 << 20, "the agent grew by {grown} bytes");
}

#[test]
fn empty_files_and_folders_above_are_made() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    assert_eq!(connection.file_write(agent.guest_path("a/b/c"), 0o4751, b""), Event::Done);
    assert_eq!(fs::read(agent.path("a/b/c")).unwrap(), b"");
    assert_eq!(mode_of(agent.path("a/b/c")), 0o4751);
    assert_eq!((mode_of(agent.path("a")), mode_of(agent.path("a/b"))), (0o755, 0o755));
}

#[test]
fn parts_of_files_are_read() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::write(agent.path("x"), "0123456789").unwrap();
    let mut part = |offset, length| connection.file_read(agent.guest_path("x"), offset, length).unwrap().2;
    assert_eq!(part(3, Some(4)), b"3456");
    assert_eq!(part(8, Some(100)), b"89");
    assert_eq!(part(100, None), b"");
    assert_eq!(part(0, Some(0)), b"");
    // Says 0 bytes in its metadata, and has some.
    let (_, _, status) =
        connection.file_read(GuestPath::absolute("/proc/self/status").unwrap(), 0, None).unwrap();
    assert!(status.starts_with(b"Name:"));
}

#[test]
fn a_write_replaces_the_whole_content_and_keeps_the_owner() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::write(agent.path("x"), "long old content").unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(agent.path("x"), Some(12_345), Some(23_456)).unwrap();
    }
    let owner = |found: fs::Metadata| (found.uid(), found.gid());
    let before = owner(fs::metadata(agent.path("x")).unwrap());
    assert_eq!(connection.file_write(agent.guest_path("x"), 0o640, b"new"), Event::Done);
    assert_eq!(fs::read(agent.path("x")).unwrap(), b"new");
    assert_eq!(owner(fs::metadata(agent.path("x")).unwrap()), before);
    assert_eq!(mode_of(agent.path("x")), 0o640);
    assert_eq!(names(&agent, ""), ["x"]);
}

#[test]
fn a_write_that_breaks_off_leaves_nothing() {
    let agent = Agent::start();
    fs::write(agent.path("old"), "old").unwrap();
    for name in ["old", "new"] {
        let mut connection = agent.connect();
        connection.send(&Request::FileWrite { path: agent.guest_path(name), mode: 0o644 });
        connection.input(&[b'x'; 300_000]);
        eventually("the draft exists", || names(&agent, "").iter().any(|name| name.starts_with(".atoll-")));
        connection.close();
        eventually("the draft is gone", || names(&agent, "") == ["old"]);
    }
    assert_eq!(fs::read(agent.path("old")).unwrap(), b"old");
}

#[test]
fn a_request_in_the_middle_of_a_write_breaks_it_off() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::FileWrite { path: agent.guest_path("x"), mode: 0o644 });
    connection.input(&[b'x'; 300_000]);
    assert_failure(&connection.ask_failing(&Request::Ping), FailureKind::Invalid, "not expected");
    assert!(connection.frame().is_none());
    eventually("the draft is gone", || names(&agent, "").is_empty());
}

#[test]
fn a_write_goes_through_symbolic_links() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("folder")).unwrap();
    fs::write(agent.path("folder/target"), "old").unwrap();
    symlink("folder/target", agent.path("one")).unwrap();
    symlink(agent.path("one"), agent.path("two")).unwrap();
    symlink("folder/made", agent.path("dangling")).unwrap();
    symlink("loop", agent.path("loop")).unwrap();
    assert_eq!(connection.file_write(agent.guest_path("two"), 0o644, b"through"), Event::Done);
    assert_eq!(fs::read(agent.path("folder/target")).unwrap(), b"through");
    assert_eq!(connection.file_write(agent.guest_path("dangling"), 0o644, b"made"), Event::Done);
    assert_eq!(fs::read(agent.path("folder/made")).unwrap(), b"made");
    let failure = failed(connection.file_write(agent.guest_path("loop"), 0o644, b"x"));
    assert_failure(&failure, FailureKind::Invalid, "symbolic links");
    for link in ["one", "two", "dangling", "loop"] {
        assert!(fs::symlink_metadata(agent.path(link)).unwrap().is_symlink());
    }
    assert_eq!(connection.file_read(agent.guest_path("two"), 0, None).unwrap().2, b"through");
}

#[test]
fn only_regular_files_are_written_and_read() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("folder")).unwrap();
    fs::write(agent.path("file"), "").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, agent.path("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for name in ["folder", "fifo", "agent.sock"] {
        let failure = failed(connection.file_write(agent.guest_path(name), 0o644, b"x"));
        assert_failure(&failure, FailureKind::WrongType, name);
        let failure = connection.file_read(agent.guest_path(name), 0, None).unwrap_err();
        assert_failure(&failure, FailureKind::WrongType, name);
    }
    for path in [GuestPath::root(), GuestPath::absolute("/dev/null").unwrap(), agent.guest_path("file/below")]
    {
        let failure = failed(connection.file_write(path.clone(), 0o644, b"x"));
        assert_failure(&failure, FailureKind::WrongType, path.as_str());
    }
    assert_failure(
        &connection.file_read(GuestPath::absolute("/dev/zero").unwrap(), 0, None).unwrap_err(),
        FailureKind::WrongType,
        "/dev/zero",
    );
    let missing = connection.file_read(agent.guest_path("missing"), 0, None).unwrap_err();
    assert_failure(&missing, FailureKind::NotFound, "missing: No such file or directory");
    assert_eq!(names(&agent, ""), ["fifo", "file", "folder"]);
}

#[test]
fn a_write_that_fails_takes_its_input_and_leaves_the_connection_usable() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("folder")).unwrap();
    connection.send(&Request::FileWrite { path: agent.guest_path("folder"), mode: 0o644 });
    for _ in 0..50 {
        connection.input(&[0; 60_000]);
    }
    connection.input_end();
    assert_failure(&failed(connection.event()), FailureKind::WrongType, "folder");
    let failure = failed(connection.file_write(agent.guest_path("x"), 0o1_000_000, b"x"));
    assert_failure(&failure, FailureKind::Invalid, "permission bits");
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}

#[test]
fn a_full_disk_is_a_limit() {
    // An agent whose folder is a small tmpfs, mounted where only it sees it.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("small")).unwrap();
    let script = "mount -t tmpfs -o size=1m none small && exec \"$0\" --unix own.sock";
    let mut agent = Command::new("unshare")
        .args(if rustix::process::geteuid().is_root() { &[][..] } else { &["--user", "--map-root-user"] })
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_atoll-agent")])
        .current_dir(folder.path())
        .spawn()
        .unwrap();
    let socket = folder.path().join("own.sock");
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut connection = Connection::new(&socket);
    let path = |name| GuestPath::absolute(folder.path().join("small").join(name).to_str().unwrap()).unwrap();
    assert_eq!(connection.file_write(path("fits"), 0o644, &[1; 500_000]), Event::Done);
    let failure = failed(connection.file_write(path("over"), 0o644, &[2; 2_000_000]));
    assert_failure(&failure, FailureKind::DiskFull, "over: No space left on device");
    // What was written of it is gone, so there is room again.
    assert_eq!(connection.file_write(path("fits too"), 0o644, &[3; 400_000]), Event::Done);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn folders_are_made_with_exact_modes() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut make =
        |name: &str, mode| connection.ask(&Request::FolderCreate { path: agent.guest_path(name), mode });
    assert_eq!(make("a/b/c", 0o777), Event::Done);
    assert_eq!((mode_of(agent.path("a")), mode_of(agent.path("a/b/c"))), (0o777, 0o777));
    assert_eq!(make("a/b/c", 0o700), Event::Done);
    assert_eq!(mode_of(agent.path("a/b/c")), 0o777, "a folder that exists stays as it is");
    fs::write(agent.path("file"), "").unwrap();
    assert_failure(&failed(make("file", 0o755)), FailureKind::WrongType, "file");
    assert_failure(&failed(make("file/below", 0o755)), FailureKind::WrongType, "file");
    symlink("a", agent.path("link")).unwrap();
    assert_eq!(make("link/d", 0o755), Event::Done);
    assert!(agent.path("a/d").is_dir());
    symlink("nowhere", agent.path("dangling")).unwrap();
    assert_failure(&failed(make("dangling/x", 0o755)), FailureKind::NotFound, "dangling");
}

#[test]
fn a_slow_reader_of_a_file_does_not_fill_the_agent() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::File::create(agent.path("sparse")).unwrap().set_len(200 << 20).unwrap();
    connection.file_write(agent.guest_path("x"), 0o600, b"warm up");
    let before = agent.rss_bytes();
    connection.send(&Request::FileRead { path: agent.guest_path("sparse"), offset: 0, length: None });
    assert!(matches!(connection.event(), Event::FileOpened { size_bytes, .. } if size_bytes == 200 << 20));
    let mut read = 0;
    while let Some((Kind::Output, payload)) = connection.frame() {
        read += payload.len();
        assert!(agent.rss_bytes().saturating_sub(before) < 3 << 20);
    }
    assert_eq!(read, 200 << 20);
}

#[test]
fn many_writes_at_once_do_not_mix() {
    let agent = Agent::start();
    thread::scope(|scope| {
        for number in 0..20_u8 {
            let mut connection = agent.connect();
            let path = agent.guest_path(&format!("folder/{number}"));
            scope.spawn(move || {
                assert_eq!(connection.file_write(path, 0o644, &vec![number; 500_000]), Event::Done);
            });
        }
    });
    for number in 0..20_u8 {
        assert!(fs::read(agent.path(&format!("folder/{number}"))).unwrap() == vec![number; 500_000]);
    }
}
