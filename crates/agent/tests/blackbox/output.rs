//! Output arrives whole and in order, at the reader's speed, and stops at its cap.

use std::time::Duration;

use protocol::{
    agent::{ExitStatus, Request, Stdin},
    frame::Kind,
};

use crate::wire::{Agent, SUCCESS, eventually, program, shell};

/// How much the agent may grow while it passes a stream on: backlogs, frames, the file thread.
const GROWTH_BYTES_MAX: u64 = 3 << 20;

#[test]
fn twenty_megabytes_of_binary_output_arrive_intact() {
    let agent = Agent::start();
    let content: Vec<u8> =
        (0..5_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(agent.path("data"), &content).unwrap();
    let outcome = agent.connect().exec(&program(&["cat", agent.path("data").to_str().unwrap()]));
    assert!(outcome.stdout == content, "{} bytes came", outcome.stdout.len());
    assert_eq!(outcome.end.status, SUCCESS);
}

#[test]
fn both_streams_at_once_arrive_whole() {
    let agent = Agent::start();
    let outcome = agent.connect().shell("head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait");
    assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (3_000_000, 2_000_000));
}

#[test]
fn over_the_cap_output_is_dropped_and_counted() {
    let agent = Agent::start();
    let mut spec = shell("head -c 10485760 /dev/zero; head -c 3000000 /dev/zero >&2; exit 4");
    spec.output_bytes_max = Some(1 << 20);
    let outcome = agent.connect().exec(&spec);
    assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (1 << 20, 1 << 20));
    assert_eq!(outcome.end.stdout_dropped_bytes, 10_485_760 - (1 << 20));
    assert_eq!(outcome.end.stderr_dropped_bytes, 3_000_000 - (1 << 20));
    assert_eq!(outcome.end.status, ExitStatus::Exited(4));
}

#[test]
fn a_cap_of_nothing_passes_nothing() {
    let agent = Agent::start();
    let mut spec = shell("echo hello");
    spec.output_bytes_max = Some(0);
    let outcome = agent.connect().exec(&spec);
    assert_eq!((outcome.stdout.len(), outcome.end.stdout_dropped_bytes), (0, 6));
}

#[test]
fn a_slow_reader_slows_the_program_not_fills_the_agent() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.shell("true");
    let before = agent.rss_bytes();
    let total = 64 << 20;
    connection.send(&Request::ExecStart(program(&["head", "-c", &total.to_string(), "/dev/zero"])));
    let pid = connection.started();
    // What it could write without being read, it has written when its CPU time stands still.
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    eventually("the program waits", || {
        let seen = stat();
        std::thread::sleep(Duration::from_millis(100));
        seen == stat() && seen.contains(") S ")
    });
    let mut read = 0;
    while read < total {
        let grown = agent.rss_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "the agent grew by {grown} bytes");
        let (kind, payload) = connection.frame().unwrap();
        assert_eq!(kind, Kind::Output);
        read += payload.len();
    }
    assert_eq!(connection.outcome().end.status, SUCCESS);
}

#[test]
fn an_unread_exec_does_not_hold_up_another() {
    let agent = Agent::start();
    let mut stalled = agent.connect();
    let spec = program(&["yes"]);
    stalled.send(&Request::ExecStart(spec.clone()));
    stalled.started();
    let mut connection = agent.connect();
    for _ in 0..20 {
        assert_eq!(connection.shell("echo fine").stdout, b"fine\n");
    }
    connection.send(&Request::ExecSignal { exec: spec.id, signal: libc::SIGKILL });
    connection.event();
    assert_eq!(stalled.outcome().end.status, ExitStatus::Signaled(libc::SIGKILL));
}

#[test]
fn what_a_background_process_holds_open_does_not_hold_the_end() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let outcome = connection.shell("sleep 1000 & echo $!; head -c 300000 /dev/zero");
    let (line, rest) =
        outcome.stdout.split_at(outcome.stdout.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    assert_eq!(rest.len(), 300_000);
    connection.shell(&format!("kill {}", std::str::from_utf8(line).unwrap()));
}

#[test]
fn a_background_process_that_never_falls_silent_does_not_hold_the_end() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let outcome = connection.shell("yes & echo $! >&2");
    assert_eq!(outcome.end.status, SUCCESS);
    let pid = String::from_utf8(outcome.stderr).unwrap();
    assert_eq!(connection.shell(&format!("kill {pid}")).end.status, SUCCESS);
}

#[test]
fn output_comes_as_it_is_written() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut spec = shell("echo question; read answer; echo \"got $answer\"");
    spec.stdin = Stdin::Piped;
    connection.send(&Request::ExecStart(spec));
    connection.started();
    connection.output_until("question\n");
    connection.input(b"forty-two\n");
    connection.output_until("got forty-two\n");
    assert_eq!(connection.outcome().end.status, SUCCESS);
}
