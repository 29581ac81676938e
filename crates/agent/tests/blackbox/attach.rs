//! Losing the connection loses neither the exec nor its end.

use protocol::{
    ExecId,
    agent::{Event, ExecSpec, ExitStatus, FailureKind, Request, Stdin},
};

use crate::wire::{Agent, Connection, SUCCESS, assert_failure, eventually, program, shell};

fn start(agent: &Agent, spec: &ExecSpec) -> Connection {
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(spec.clone()));
    connection.started();
    connection
}

fn attach(agent: &Agent, exec: ExecId) -> Connection {
    let mut connection = agent.connect();
    connection.send(&Request::ExecAttach { exec });
    connection.started();
    connection
}

#[test]
fn an_exec_goes_on_and_can_be_followed_again() {
    let agent = Agent::start();
    let mut spec = shell("echo one; read x; echo two $x; read y; echo three $y; exit 9");
    spec.stdin = Stdin::Piped;
    let mut first = start(&agent, &spec);
    first.output_until("one\n");
    first.close();
    let mut second = attach(&agent, spec.id);
    second.input(b"a\n");
    second.output_until("two a\n");
    second.close();
    let mut third = attach(&agent, spec.id);
    third.input(b"b\n");
    let outcome = third.outcome();
    assert_eq!((outcome.stdout_text(), outcome.end.status), ("three b\n", ExitStatus::Exited(9)));
}

#[test]
fn what_was_written_meanwhile_is_kept() {
    let agent = Agent::start();
    let marker = agent.path("written");
    let spec = shell(&format!("echo hello; echo error >&2; echo > {}; exec sleep 1000", marker.display()));
    start(&agent, &spec).close();
    eventually("it has written", || marker.exists());
    let mut connection = attach(&agent, spec.id);
    agent.connect().ask(&Request::ExecSignal { exec: spec.id, signal: libc::SIGTERM });
    let outcome = connection.outcome();
    // The first follower may have been sent some of it before it left.
    assert!(["hello\n", ""].contains(&outcome.stdout_text()), "{outcome:?}");
    assert_eq!(outcome.end.status, ExitStatus::Signaled(libc::SIGTERM));
}

#[test]
fn the_end_is_kept_until_it_is_collected_and_then_forgotten() {
    let agent = Agent::start();
    let go = agent.path("go");
    let spec = shell(&format!("while [ ! -e {} ]; do sleep 0.01; done; echo done; exit 6", go.display()));
    let connection = start(&agent, &spec);
    connection.close();
    std::fs::write(&go, "").unwrap();
    eventually("the exec has ended", || agent.children().is_empty());
    let outcome = attach(&agent, spec.id).outcome();
    assert_eq!((outcome.stdout_text(), outcome.end.status), ("done\n", ExitStatus::Exited(6)));
    let failure = agent.connect().ask_failing(&Request::ExecAttach { exec: spec.id });
    assert_failure(&failure, FailureKind::NotFound, &spec.id.to_string());
}

#[test]
fn what_is_retained_comes_again_with_the_end_for_whoever_attaches() {
    let agent = Agent::start();
    let mut spec = shell("head -c 700000 /dev/zero | tr '\\0' a; echo error >&2; read x; echo $x; exit 5");
    spec.stdin = Stdin::Piped;
    spec.retain_bytes = 1 << 20;
    let mut first = start(&agent, &spec);
    first.output_until("a");
    first.close();
    let mut second = attach(&agent, spec.id);
    second.input(b"b\n");
    let whole = second.outcome();
    assert_eq!((whole.stdout.len(), whole.stderr.as_slice()), (700_002, &b"error\n"[..]));
    assert_eq!((whole.end.status, whole.end.stdout_dropped_bytes), (ExitStatus::Exited(5), 0));
    let again = attach(&agent, spec.id).outcome();
    assert_eq!((again.stdout, again.stderr, again.end), (whole.stdout, whole.stderr, whole.end));
}

#[test]
fn of_more_than_is_retained_the_oldest_is_missing_and_counted() {
    let agent = Agent::start();
    let mut spec = shell("head -c 100000 /dev/zero; echo end");
    spec.retain_bytes = 1000;
    assert_eq!(start(&agent, &spec).outcome().stdout.len(), 100_004);
    let again = attach(&agent, spec.id).outcome();
    assert_eq!((again.stdout.len(), again.end.stdout_dropped_bytes), (1000, 99_004));
    assert!(again.stdout.ends_with(b"end\n"));
}

#[test]
fn unread_output_over_the_backlog_drops_the_oldest_and_counts_it() {
    let agent = Agent::start();
    let go = agent.path("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.01; done; head -c 1000000 /dev/zero | tr '\\0' a; echo end; exit 2",
        go.display()
    );
    let spec = shell(&script);
    start(&agent, &spec).close();
    // The agent learns that its follower is gone when it reads the end of that connection or writes to it.
    std::fs::write(&go, "").unwrap();
    eventually("the exec has ended", || agent.children().is_empty());
    let outcome = attach(&agent, spec.id).outcome();
    assert_eq!(outcome.stdout.len(), 256 << 10);
    assert!(outcome.stdout.ends_with(b"aaa\nend\n") || outcome.stdout.ends_with(b"aaaend\n"));
    assert_eq!(outcome.end.stdout_dropped_bytes, 1_000_004 - (256 << 10));
    assert_eq!(outcome.end.status, ExitStatus::Exited(2));
}

#[test]
fn the_newest_follower_wins() {
    let agent = Agent::start();
    let mut spec = program(&["cat"]);
    spec.stdin = Stdin::Piped;
    let mut first = start(&agent, &spec);
    let mut second = attach(&agent, spec.id);
    assert!(first.frame().is_none(), "the first connection is still open");
    second.input(b"to the second");
    second.output_until("to the second");
    second.input_end();
    assert_eq!(second.outcome().end.status, SUCCESS);
}

#[test]
fn a_stalled_follower_can_be_replaced() {
    let agent = Agent::start();
    let spec = shell("head -c 8000000 /dev/zero; exit 1");
    // Reads nothing, so the agent is in the middle of a write to it.
    let mut stalled = agent.connect();
    stalled.send(&Request::ExecStart(spec.clone()));
    stalled.started();
    let mut second = attach(&agent, spec.id);
    let outcome = second.outcome();
    let mut received = 0;
    while let Some((_, payload)) = stalled.frame() {
        received += payload.len();
    }
    // A frame that was cut off in the middle is lost with its connection.
    let total = received + outcome.stdout.len();
    assert!((8_000_000 - (64 << 10)..=8_000_000).contains(&total), "{total}");
    assert_eq!(outcome.end.status, ExitStatus::Exited(1));
}

#[test]
fn ends_are_kept_in_bounded_number() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let specs: Vec<ExecSpec> = (0..1030).map(|_| program(&["sleep", "1000"])).collect();
    for spec in &specs {
        start(&agent, spec).close();
        let signal = Request::ExecSignal { exec: spec.id, signal: libc::SIGTERM };
        assert_eq!(connection.ask(&signal), Event::Done);
    }
    eventually("all have ended", || agent.children().is_empty());
    let mut collect = |spec: &ExecSpec| {
        connection.send(&Request::ExecAttach { exec: spec.id });
        match connection.event() {
            Event::ExecStarted { .. } => {
                assert_eq!(connection.outcome().end.status, ExitStatus::Signaled(libc::SIGTERM));
                true
            }
            Event::Failed(failure) => {
                assert_eq!(failure.kind, FailureKind::NotFound);
                false
            }
            other => panic!("{other:?}"),
        }
    };
    // They need not have ended exactly in the order in which they were started.
    let (old, new) = specs.split_at(500);
    assert!(new.iter().all(&mut collect), "a recent one was forgotten");
    assert_eq!(old.iter().filter(|spec| collect(spec)).count(), 1024 - new.len());
}
