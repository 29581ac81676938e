//! Readers that are slow, writers that go away, files that change while they are read.

use std::{
    fs,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use protocol::{
    agent::{Event, FailureKind, Request},
    frame::Kind,
};
use tar::EntryType;

use super::{Archive, drafts, tree_read, tree_write, walked::walked};
use crate::wire::{Agent, assert_failure, eventually};

#[test]
fn a_slow_reader_of_a_tree_does_not_fill_the_agent() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir(agent.path("from")).unwrap();
    fs::write(agent.path("from/full"), vec![1; 150 << 20]).unwrap();
    for number in 0..5000 {
        fs::write(agent.path(&format!("from/{number}")), "x").unwrap();
    }
    connection.file_write(agent.guest_path("x"), 0o600, b"warm up");
    let before = agent.rss_bytes();
    connection.send(&Request::TreeRead { path: agent.guest_path("from") });
    let mut read = 0;
    while let Some((Kind::Output, payload)) = connection.frame() {
        read += payload.len();
        let grown = agent.rss_bytes().saturating_sub(before);
        assert!(grown < 4 << 20, "the agent grew by {grown} bytes");
    }
    assert!(read > 150 << 20);
}

#[test]
fn a_large_tree_is_written_in_bounded_memory() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.file_write(agent.guest_path("x"), 0o600, b"warm up");
    let before = agent.rss_bytes();
    let content = vec![1; 1 << 20];
    connection.send(&Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: true });
    for number in 0..100 {
        connection.input(&Archive::default().file(&number.to_string(), &content).bytes);
        let grown = agent.rss_bytes().saturating_sub(before);
        assert!(grown < 4 << 20, "the agent grew by {grown} bytes");
    }
    connection.input(&Archive::default().end());
    connection.input_end();
    assert_eq!(connection.event(), Event::Done);
    assert_eq!(fs::read(agent.path("to/99")).unwrap(), content);
}

#[test]
fn a_connection_closed_in_the_middle_leaves_nothing_half_written() {
    let agent = Agent::start();
    fs::create_dir(agent.path("to")).unwrap();
    fs::write(agent.path("to/old"), "old").unwrap();
    for (name, home) in [("to", "to"), ("new/folder", "")] {
        let mut connection = agent.connect();
        connection.send(&Request::TreeWrite { path: agent.guest_path(name), bytes_max: None, clear: true });
        connection.input(&Archive::default().file("a/b", &[1; 400_000]).file("c", b"").bytes);
        eventually("the draft exists", || !drafts(&agent, home).is_empty());
        connection.close();
        eventually("the draft is gone", || drafts(&agent, home).is_empty());
        assert!(!agent.path("new").exists());
        assert_eq!(walked(&agent.path("to")).into_keys().collect::<Vec<_>>(), [b"old"]);
    }
    assert_eq!(agent.connect().ask(&Request::Ping), Event::Pong);
}

#[test]
fn a_reader_that_goes_away_ends_the_reading() {
    let agent = Agent::start();
    fs::create_dir(agent.path("from")).unwrap();
    // More than a socket holds.
    fs::write(agent.path("from/endless"), vec![1; 64 << 20]).unwrap();
    let mut connection = agent.connect();
    connection.send(&Request::TreeRead { path: agent.guest_path("from") });
    connection.frame().unwrap();
    let open = || {
        let folder = format!("/proc/{}/fd", agent.pid());
        fs::read_dir(folder)
            .unwrap()
            .filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .any(|path| path.ends_with("from/endless"))
    };
    assert!(open());
    connection.close();
    eventually("the file is closed", || !open());
}

#[test]
fn a_failure_is_told_before_the_rest_of_the_archive_has_come() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: true });
    connection
        .input(&Archive::default().entry(EntryType::Char, "null", "", b"").file("x", &[0; 300_000]).bytes);
    let Event::Failed(failure) = connection.event() else { panic!("it was taken") };
    assert_failure(&failure, FailureKind::Invalid, "null: it is a device");
    connection.input(&[0; 100_000]);
    connection.input_end();
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}

#[test]
fn a_request_in_the_middle_of_a_tree_breaks_it_off() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::TreeWrite { path: agent.guest_path("to"), bytes_max: None, clear: true });
    connection.input(&Archive::default().file("x", &[1; 400_000]).bytes);
    assert_failure(&connection.ask_failing(&Request::Ping), FailureKind::Invalid, "not expected");
    assert!(connection.frame().is_none());
    eventually("the draft is gone", || drafts(&agent, "").is_empty());
}

#[test]
fn a_tree_that_changes_while_it_is_read_is_a_whole_archive() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fs::create_dir_all(agent.path("from/comes and goes")).unwrap();
    let file = fs::File::create(agent.path("from/size")).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let folder = agent.path("from/comes and goes");
            while !stop.load(Ordering::Relaxed) {
                file.set_len(5_000_000).unwrap();
                file.write_all_at(&[1; 100_000], 3_000_000).unwrap();
                for number in 0..20 {
                    let path = folder.join(number.to_string());
                    fs::write(&path, [1; 1000]).unwrap();
                    let _ = fs::remove_file(folder.join((number * 7 % 20).to_string()));
                }
                let _ = fs::remove_dir_all(&folder);
                fs::create_dir_all(&folder).unwrap();
                file.set_len(0).unwrap();
            }
        });
        let results: Vec<_> = (0..30)
            .map(|_| {
                let archive = tree_read(&mut connection, agent.guest_path("from"))?;
                tree_write(&mut connection, agent.guest_path("to"), &archive)?;
                Ok::<_, protocol::agent::Failure>(agent.path("to/size").exists())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert!(results.iter().all(|result| *result == Ok(true)), "{results:?}");
    });
}

#[test]
fn a_disk_that_is_full_leaves_what_was_there() {
    let agent = Agent::start();
    fs::create_dir(agent.path("small")).unwrap();
    let script = "mount -t tmpfs -o size=1m none small && exec \"$0\" --unix own";
    let mut other = std::process::Command::new("unshare")
        .args(if rustix::process::geteuid().is_root() { &[][..] } else { &["--user", "--map-root-user"] })
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_atoll-agent")])
        .current_dir(agent.path(""))
        .spawn()
        .unwrap();
    let socket = agent.path("own");
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut connection = crate::wire::Connection::new(&socket);
    let path = agent.guest_path("small/to");
    tree_write(&mut connection, path.clone(), &Archive::default().file("old", &[1; 300_000]).end()).unwrap();
    let failure =
        tree_write(&mut connection, path.clone(), &Archive::default().file("new", &[1; 900_000]).end());
    assert_failure(&failure.unwrap_err(), FailureKind::DiskFull, "new: No space left on device");
    let archive = tree_read(&mut connection, path.clone()).unwrap();
    assert_eq!(tar::Archive::new(&archive[..]).entries().unwrap().count(), 1);
    // What was unpacked is gone, so there is room again.
    tree_write(&mut connection, path, &Archive::default().file("new", &[1; 500_000]).end()).unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}
