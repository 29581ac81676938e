//! Processes start, end, and are reported as they were.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use protocol::{
    ExecId, GuestPath,
    agent::{Event, ExitStatus, FailureKind, Request, Stdin},
};

use crate::wire::{Agent, SUCCESS, assert_failure, eventually, is_alive, program, shell};

#[test]
fn both_streams_and_the_status_come_back() {
    let agent = Agent::start();
    let outcome = agent.connect().shell("echo out; echo err >&2; exit 7");
    assert_eq!(outcome.stdout, b"out\n");
    assert_eq!(outcome.stderr, b"err\n");
    assert_eq!(outcome.end.status, ExitStatus::Exited(7));
    assert!(!outcome.end.timed_out);
    assert_eq!((outcome.end.stdout_dropped_bytes, outcome.end.stderr_dropped_bytes), (0, 0));
}

#[test]
fn a_signal_that_ends_a_process_is_reported() {
    let agent = Agent::start();
    assert_eq!(agent.connect().shell("kill -SEGV $$").end.status, ExitStatus::Signaled(libc::SIGSEGV));
    assert_eq!(agent.connect().shell("kill -KILL $$").end.status, ExitStatus::Signaled(libc::SIGKILL));
}

#[test]
fn resources_are_measured() {
    let agent = Agent::start();
    let outcome = agent.connect().shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
    assert!(outcome.end.cpu_us > 1000, "{:?}", outcome.end);
    assert!(outcome.end.wall_us >= outcome.end.cpu_us / 2, "{:?}", outcome.end);
    assert!(outcome.end.rss_bytes_max > 100_000, "{:?}", outcome.end);
}

#[test]
fn what_cannot_start_says_why() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut start = |spec| connection.ask_failing(&Request::ExecStart(spec));

    assert_failure(
        &start(program(&["no-such-program"])),
        FailureKind::NotFound,
        "start no-such-program: No such file or directory (not found in PATH)",
    );
    assert_failure(
        &start(program(&["/no/such"])),
        FailureKind::NotFound,
        "start /no/such: No such file or directory",
    );
    assert_failure(&start(program(&[])), FailureKind::Invalid, "name is empty");
    assert_failure(&start(program(&[""])), FailureKind::Invalid, "name is empty");
    assert_failure(
        &start(program(&["/etc/passwd"])),
        FailureKind::Denied,
        "start /etc/passwd: Permission denied",
    );
    assert_failure(&start(program(&["echo", "a\0b"])), FailureKind::Invalid, "NUL");

    let mut spec = program(&["true"]);
    spec.cwd = GuestPath::absolute("/no/such/folder").unwrap();
    assert_failure(
        &start(spec),
        FailureKind::NotFound,
        "start true: enter the folder /no/such/folder: No such file",
    );

    let mut spec = program(&["true"]);
    spec.env.push(("A=B".to_owned(), String::new()));
    assert_failure(&start(spec), FailureKind::Invalid, "A=B");

    for (name, content, kind, text) in [
        ("text", "neither binary nor script", FailureKind::Invalid, "Exec format error"),
        ("script", "#!/no/such/interpreter\n", FailureKind::NotFound, "its interpreter is missing"),
    ] {
        fs::write(agent.path(name), content).unwrap();
        fs::set_permissions(agent.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        assert_failure(&start(program(&[agent.path(name).to_str().unwrap()])), kind, text);
    }
    // The connection still works, and no failed child is left behind.
    assert_eq!(connection.shell("true").end.status, SUCCESS);
    eventually("no children are left", || agent.children().is_empty());
}

#[test]
fn programs_are_looked_up_in_the_path_of_their_own_environment() {
    let agent = Agent::start();
    fs::write(agent.path("tool"), "#!/bin/sh\necho \"$0\"\n").unwrap();
    fs::set_permissions(agent.path("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec = program(&["tool"]);
    spec.env = vec![("PATH".to_owned(), format!("/nowhere:{}", agent.path("").display()))];
    assert!(agent.connect().exec(&spec).stdout_text().trim().ends_with("/tool"));

    // Relative to the folder where it starts.
    let mut spec = program(&["./tool"]);
    spec.cwd = agent.guest_path("");
    assert_eq!(agent.connect().exec(&spec).stdout, b"./tool\n");
}

#[test]
fn an_id_in_use_is_refused() {
    let agent = Agent::start();
    let mut first = agent.connect();
    let mut spec = program(&["cat"]);
    spec.stdin = Stdin::Piped;
    first.send(&Request::ExecStart(spec.clone()));
    first.started();
    let failure = agent.connect().ask_failing(&Request::ExecStart(spec.clone()));
    assert_failure(&failure, FailureKind::Invalid, "in use");
    first.input_end();
    assert_eq!(first.outcome().end.status, SUCCESS);
    // Its end was collected, so the id is free.
    assert_eq!(first.exec(&shell("true")).end.status, SUCCESS);
    spec.argv = vec!["true".to_owned()];
    assert_eq!(first.exec(&spec).end.status, SUCCESS);
}

#[test]
fn input_goes_through_a_program_unchanged() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut spec = program(&["cat"]);
    spec.stdin = Stdin::Piped;
    connection.send(&Request::ExecStart(spec));
    connection.started();
    let content: Vec<u8> =
        (0..5_000_000_u32).flat_map(|number| number.to_le_bytes().into_iter().take(1)).collect();
    let mut sender = crate::wire::Connection { stream: connection.stream.try_clone().unwrap() };
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            content.chunks(100_000).for_each(|piece| sender.input(piece));
            sender.input_end();
        });
        connection.outcome()
    });
    assert_eq!(outcome.end.status, SUCCESS);
    assert!(outcome.stdout == content);
}

#[test]
fn input_that_nobody_reads_harms_nothing() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let mut spec = shell("exec <&-; echo closed; exit 3");
    spec.stdin = Stdin::Piped;
    connection.send(&Request::ExecStart(spec));
    for _ in 0..100 {
        connection.input(&[b'x'; 10_000]);
    }
    connection.input_end();
    connection.started();
    let outcome = connection.outcome();
    assert_eq!((outcome.stdout_text(), outcome.end.status), ("closed\n", ExitStatus::Exited(3)));
    // Late frames of that input are not taken for the next request's.
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
}

#[test]
fn without_piped_input_a_program_reads_nothing() {
    let agent = Agent::start();
    let outcome = agent.connect().exec(&program(&["cat"]));
    assert_eq!((outcome.stdout.len(), outcome.end.status), (0, SUCCESS));
}

#[test]
fn signals_reach_the_whole_tree_once() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let script = "trap 'echo got' USR1; \
                  sh -c 'trap \"echo child got; exit\" USR1; echo ready; while :; do sleep 0.05; done' & \
                  while kill -0 $! 2>/dev/null; do wait $!; done";
    let spec = shell(script);
    connection.send(&Request::ExecStart(spec.clone()));
    connection.started();
    connection.output_until("ready\n");
    let signal = Request::ExecSignal { exec: spec.id, signal: libc::SIGUSR1 };
    assert_eq!(agent.connect().ask(&signal), Event::Done);
    let outcome = connection.outcome();
    let mut lines: Vec<&str> = outcome.stdout_text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["child got", "got"], "{outcome:?}");
}

#[test]
fn signals_to_nothing_fail() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let exec = ExecId::random();
    let failure = connection.ask_failing(&Request::ExecSignal { exec, signal: libc::SIGTERM });
    assert_failure(&failure, FailureKind::NotFound, &exec.to_string());
    let failure = connection.ask_failing(&Request::ExecSignal { exec, signal: 0 });
    assert_failure(&failure, FailureKind::Invalid, "no signal number");
}

#[test]
fn orphans_are_reaped() {
    let agent = Agent::start();
    // Each subshell ends before its child does, which the agent then inherits.
    let outcome =
        agent.connect().shell("for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.05 >/dev/null 2>&1 &); done");
    assert_eq!(outcome.end.status, SUCCESS);
    eventually("no children, zombies among them, are left", || agent.children().is_empty());
}

#[test]
fn a_background_server_outlives_its_exec_and_its_output_pipe() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let log = agent.path("log");
    // It writes to the exec's own standard output after the exec has ended.
    let outcome = connection.shell(&format!(
        "sh -c 'echo $$; while [ ! -e {0}.go ]; do sleep 0.02; done; \
         echo late || exit 1; echo alive > {0}; sleep 100' & sleep 0.1",
        log.display()
    ));
    let server = outcome.stdout_text().trim().to_owned();
    assert_eq!(outcome.end.status, SUCCESS);
    assert!(is_alive(&server));
    fs::write(agent.path("log.go"), "").unwrap();
    eventually("the server went on after writing to its old pipe", || log.exists());
    assert!(is_alive(&server));
    connection.shell(&format!("kill {server}"));
}

#[test]
fn a_hundred_at_once_keep_their_output_apart() {
    let agent = Agent::start();
    thread::scope(|scope| {
        for number in 0..100 {
            let mut connection = agent.connect();
            scope.spawn(move || {
                let outcome =
                    connection.shell(&format!("echo out {number}; echo err {number} >&2; exit {number}"));
                assert_eq!(outcome.stdout_text(), format!("out {number}\n"));
                assert_eq!(outcome.stderr, format!("err {number}\n").into_bytes());
                assert_eq!(outcome.end.status, ExitStatus::Exited(number));
            });
        }
    });
    eventually("no children are left", || agent.children().is_empty());
}
