//! Connections, the command line and the agent's own end.

use std::{
    io::{Read, Write},
    process::Command,
};

use protocol::{
    agent::{Event, FailureKind, Request},
    frame::{self, Kind},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::wire::{Agent, Connection, SUCCESS, assert_failure, eventually, program, shell};

const BINARY: &str = env!("CARGO_BIN_EXE_atoll-agent");

#[test]
fn requests_can_be_sent_ahead() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::Ping);
    connection.send(&Request::ExecStart(shell("echo first")));
    connection.send(&Request::FileWrite { path: agent.guest_path("x"), mode: 0o644 });
    connection.input(b"content");
    connection.input_end();
    connection.send(&Request::ExecStart(program(&["cat", agent.path("x").to_str().unwrap()])));
    connection.send(&Request::Ping);

    assert_eq!(connection.event(), Event::Pong);
    connection.started();
    assert_eq!(connection.outcome().stdout, b"first\n");
    assert_eq!(connection.event(), Event::Done);
    connection.started();
    assert_eq!(connection.outcome().stdout, b"content");
    assert_eq!(connection.event(), Event::Pong);
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answers() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(shell("sleep 0.05; echo late")));
    connection.send(&Request::Ping);
    connection.stream.shutdown(std::net::Shutdown::Write).unwrap();
    connection.started();
    assert_eq!(connection.outcome().stdout, b"late\n");
    assert_eq!(connection.event(), Event::Pong);
    assert!(connection.frame().is_none());
}

#[test]
fn malformed_frames_close_their_connection_only() {
    let agent = Agent::start();
    let mut other = agent.connect();
    assert_eq!(other.ask(&Request::Ping), Event::Pong);
    let too_large = [&u32::MAX.to_le_bytes()[..], &[0]].concat();
    let unknown_kind = vec![0, 0, 0, 0, 99];
    let no_request = frame::encode(Kind::Message, &[0xff; 40]).unwrap();
    let trailing = frame::encode(Kind::Message, &[0, 1, 2]).unwrap();
    let wrong_way = frame::encode(Kind::Output, b"x").unwrap();
    for bytes in [too_large, unknown_kind, no_request, trailing, wrong_way] {
        let mut connection = agent.connect();
        connection.stream.write_all(&bytes).unwrap();
        match connection.event() {
            Event::Failed(failure) => assert_failure(&failure, FailureKind::Invalid, ""),
            other => panic!("{other:?}"),
        }
        assert!(connection.frame().is_none(), "the connection is still open");
    }
    assert_eq!(other.ask(&Request::Ping), Event::Pong);
}

#[test]
fn an_announced_length_alone_takes_no_memory() {
    let agent = Agent::start();
    let mut other = agent.connect();
    other.ask(&Request::Ping);
    let before = agent.rss_bytes();
    let header = [&u32::try_from(frame::PAYLOAD_BYTES_MAX).unwrap().to_le_bytes()[..], &[0]].concat();
    let connections: Vec<Connection> = (0..50)
        .map(|_| {
            let mut connection = agent.connect();
            connection.stream.write_all(&header).unwrap();
            connection
        })
        .collect();
    other.ask(&Request::Ping);
    assert!(agent.rss_bytes() < before + (8 << 20));
    drop(connections);
}

#[test]
fn it_listens_on_a_path_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.sock");
    let mut process = Command::new(BINARY).arg("--unix").arg(&path).spawn().unwrap();
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&path).is_ok());
    let mut connection = Connection::new(&path);
    assert_eq!(connection.exec(&program(&["true"])).end.status, SUCCESS);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn it_ends_on_an_interrupt() {
    let mut agent = Agent::start();
    assert_eq!(agent.connect().ask(&Request::Ping), Event::Pong);
    kill_process(Pid::from_raw(agent.pid().cast_signed()).unwrap(), Signal::INT).unwrap();
    eventually("it has ended", || agent.has_ended());
}

#[test]
fn the_command_line_is_checked() {
    let run = |words: &[&str]| Command::new(BINARY).args(words).output().unwrap();
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--unix PATH"));
    let version = run(&["--version"]);
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("atoll-agent {}\n", env!("CARGO_PKG_VERSION"))
    );
    for words in [&[][..], &["--unix"], &["pid1", "extra"], &["unknown"]] {
        assert_eq!(run(words).status.code(), Some(2), "{words:?}");
    }
    let taken = run(&["--unix", "/no/such/folder/sock"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        String::from_utf8(taken.stderr).unwrap().contains("listen on /no/such/folder/sock: No such file")
    );
    let no_socket = run(&["pid1"]);
    assert_eq!(no_socket.status.code(), Some(1));
    assert!(String::from_utf8(no_socket.stderr).unwrap().contains("descriptor 3"));
}

#[test]
fn as_first_process_it_takes_everything_with_it() {
    // As in a sandbox: user 0 of a user namespace, in a pid namespace of its own.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.sock");
    let mut outside = Command::new("unshare")
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", BINARY, "--unix"])
        .arg(&path)
        .spawn()
        .unwrap();
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&path).is_ok());
    let mut connection = Connection::new(&path);
    let mut spec = shell("setsid sleep 1000 & cat /proc/self/oom_score_adj; echo ready; wait");
    (spec.uid, spec.gid) = (0, 0);
    connection.send(&Request::ExecStart(spec));
    connection.started();
    assert_eq!(connection.output_until("ready\n"), "1000\nready\n");
    let mut other = Connection::new(&path);
    let mut kill = shell("kill -TERM 1");
    (kill.uid, kill.gid) = (0, 0);
    other.send(&Request::ExecStart(kill));
    // The whole namespace ends with it, and so do the connections.
    let mut rest = Vec::new();
    let _ = connection.stream.read_to_end(&mut rest);
    assert_eq!(outside.wait().unwrap().code(), Some(0));
}
