//! What changes below a folder is told, wherever it is and whatever made the folder it is in.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, process::Command};

use protocol::{
    GuestPath,
    agent::{Event, FailureKind, Request},
    frame::{self, Kind},
    workspace::{Change, ChangeKind},
};

use super::workspace;
use crate::wire::{Agent, Connection, assert_failure};

fn watching(agent: &Agent, root: &GuestPath) -> Connection {
    let mut connection = agent.connect();
    assert_eq!(connection.ask(&Request::Watch { root: root.clone() }), Event::Done);
    connection
}

/// The next changes, each as a line.
fn lines(connection: &mut Connection) -> Vec<String> {
    match connection.frame().expect("the agent closed the connection") {
        (Kind::Output, payload) => {
            assert!(payload.len() <= frame::ANSWER_BYTES_MAX);
            frame::decode_message::<Vec<Change>>(&payload).unwrap().iter().map(line).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn line(change: &Change) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let slash = if change.is_folder { "/" } else { "" };
    match &change.kind {
        ChangeKind::Moved { from } => format!("{}{slash} from {}", text(&change.path), text(from)),
        kind => format!("{}{slash} {kind:?}", text(&change.path)),
    }
}

/// Waits until all of these were told, and nothing that is not listed.
fn expect(connection: &mut Connection, wanted: &[&str], also: &[&str]) {
    let mut missing: BTreeSet<String> = wanted.iter().map(|&line| line.to_owned()).collect();
    while !missing.is_empty() {
        for line in lines(connection) {
            let known = wanted.contains(&line.as_str()) || also.contains(&line.as_str());
            assert!(known, "{line} was told; {missing:?} is waited for");
            missing.remove(&line);
        }
    }
}

#[test]
fn files_are_told_with_what_happened_to_them() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::create_dir(agent.path("root/d")).unwrap();
    fs::write(agent.path("root/d/old"), "").unwrap();
    let mut watch = watching(&agent, &root);
    fs::write(agent.path("root/d/new"), "x").unwrap();
    expect(&mut watch, &["d/new Created"], &["d/new Changed"]);
    fs::write(agent.path("root/d/old"), "changed").unwrap();
    expect(&mut watch, &["d/old Changed"], &["d/new Changed"]);
    fs::rename(agent.path("root/d/old"), agent.path("root/moved")).unwrap();
    expect(&mut watch, &["moved from d/old"], &["d/old Changed"]);
    fs::remove_file(agent.path("root/moved")).unwrap();
    expect(&mut watch, &["moved Deleted"], &["moved Changed"]);
    fs::rename(agent.path("root/d/new"), agent.path("outside/new")).unwrap();
    expect(&mut watch, &["d/new Deleted"], &[]);
    fs::rename(agent.path("outside/new"), agent.path("root/back")).unwrap();
    expect(&mut watch, &["back Created"], &[]);
    symlink("anywhere", agent.path("root/link")).unwrap();
    expect(&mut watch, &["link Created"], &[]);
}

#[test]
fn what_the_agent_writes_is_told_under_its_own_name() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut watch = watching(&agent, &root);
    let mut connection = agent.connect();
    connection.workspace_write(&root, b"a/b/new", b"x").unwrap();
    expect(&mut watch, &["a/ Created", "a/b/ Created", "a/b/new Created"], &["a/b/new Changed"]);
    connection.workspace_write(&root, b"a/b/new", b"y").unwrap();
    expect(&mut watch, &["a/b/new Changed"], &[]);
    connection.workspace_remove(&root, b"a").unwrap();
    expect(&mut watch, &["a/ Deleted", "a/b/ Deleted", "a/b/new Deleted"], &["a/b/new Changed"]);
}

#[test]
fn nothing_in_folders_made_later_is_missed() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let mut watch = watching(&agent, &root);
    // As fast as it goes: most of it is there before the folder can be watched.
    let script = "for i in $(seq 30); do mkdir -p $i/a/b && echo x > $i/a/b/file; done";
    assert!(
        Command::new("sh").args(["-c", script]).current_dir(agent.path("root")).status().unwrap().success()
    );
    let all: Vec<String> = (1..=30)
        .flat_map(|number| ["/", "/a/", "/a/b/", "/a/b/file"].map(|path| format!("{number}{path} Created")))
        .collect();
    let again: Vec<String> = (1..=30).map(|number| format!("{number}/a/b/file Changed")).collect();
    let borrowed = |lines: &'_ [String]| lines.iter().map(String::clone).collect::<Vec<_>>();
    let (all, again) = (borrowed(&all), borrowed(&again));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    expect(&mut watch, &all, &again);
    fs::write(agent.path("root/17/a/b/later"), "").unwrap();
    expect(&mut watch, &["17/a/b/later Created"], &[&again[..], &["17/a/b/later Changed"]].concat());
}

#[test]
fn a_folder_is_followed_where_it_moves() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::create_dir_all(agent.path("root/a/deep")).unwrap();
    let mut watch = watching(&agent, &root);
    fs::rename(agent.path("root/a"), agent.path("root/b")).unwrap();
    expect(&mut watch, &["b/ from a"], &[]);
    fs::write(agent.path("root/b/deep/x"), "").unwrap();
    expect(&mut watch, &["b/deep/x Created"], &["b/deep/x Changed"]);
    fs::rename(agent.path("root/b"), agent.path("outside/b")).unwrap();
    expect(&mut watch, &["b/ Deleted"], &["b/deep/x Changed"]);
    // It is nobody's business any more.
    fs::write(agent.path("outside/b/deep/y"), "").unwrap();
    fs::rename(agent.path("outside/b"), agent.path("root/c")).unwrap();
    expect(&mut watch, &["c/ Created", "c/deep/ Created", "c/deep/x Created", "c/deep/y Created"], &[]);
}

#[test]
fn a_burst_is_told_in_bounded_memory_and_what_comes_after_it_too() {
    let agent = Agent::start();
    let root = workspace(&agent);
    fs::create_dir(agent.path("root/d")).unwrap();
    let mut watch = watching(&agent, &root);
    let before = agent.rss_bytes();
    // More than the kernel's queue holds, and nobody reads.
    for number in 0..30_000 {
        fs::write(agent.path(&format!("root/d/{number}")), "").unwrap();
    }
    fs::create_dir(agent.path("root/late")).unwrap();
    loop {
        if lines(&mut watch).iter().any(|line| line == "/ Everything") {
            break;
        }
    }
    // When all of it was told, what happens next is told by name again, also where the folder was never announced.
    for attempt in 0.. {
        fs::write(agent.path(&format!("root/late/{attempt}")), "").unwrap();
        let told = lines(&mut watch);
        if told.iter().any(|line| line.starts_with("late/") && line.ends_with("Created")) {
            break;
        }
    }
    let grown = agent.rss_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "the agent grew by {grown} bytes");
}

#[test]
fn it_ends_with_the_folder_and_with_the_connection() {
    let agent = Agent::start();
    let root = workspace(&agent);
    let none = GuestPath::absolute(&format!("{root}/none")).unwrap();
    let failure = agent.connect().ask_failing(&Request::Watch { root: none });
    assert_failure(&failure, FailureKind::NotFound, "none");
    let mut watch = watching(&agent, &root);
    fs::remove_dir(agent.path("root")).unwrap();
    assert!(matches!(watch.event(), Event::Failed(failure) if failure.kind == FailureKind::NotFound));
    assert_eq!(watch.ask(&Request::Ping), Event::Pong, "the connection goes on");
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    watch.close();
    crate::wire::eventually("the connection is closed", || {
        let inotify = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap();
        inotify
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .all(|to| !to.ends_with("anon_inode:inotify"))
    });
    let (before, root) = (descriptors(), agent.guest_path("outside"));
    for _ in 0..20 {
        watching(&agent, &root).close();
    }
    crate::wire::eventually("nothing is left of those that were closed", || descriptors() <= before);
}
