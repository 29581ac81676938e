//! An exec with a terminal, as the server asks for one: what the kernel calls a terminal, whole.

use std::time::Duration;

use protocol::{
    ExecId,
    agent::{Event, ExecSpec, ExitStatus, FailureKind, Request, TerminalSize},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::wire::{Agent, Connection, SUCCESS, assert_failure, eventually, program, shell};

fn with_terminal(spec: ExecSpec) -> ExecSpec {
    ExecSpec { terminal: Some(TerminalSize { rows: 24, cols: 80 }), ..spec }
}

/// Starts a bash that is talked to and has no settings of anybody's.
fn bash(agent: &Agent) -> (ExecId, Connection) {
    let mut spec = with_terminal(program(&["bash", "--norc", "--noprofile", "-i"]));
    spec.env.extend(
        [("PS1", "> "), ("TERM", "xterm"), ("LC_ALL", "C.UTF-8")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let id = spec.id;
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(spec));
    connection.started();
    (id, connection)
}

#[test]
fn it_is_a_terminal_that_controls_a_session_of_its_own() {
    let agent = Agent::start();
    let script = "test -t 0 && test -t 1 && test -t 2 && tty </dev/tty && stty size \
        && stty -a | grep -o ' iutf8' && echo err >&2 \
        && set -- $(cat /proc/$$/stat) && test $1 = $6 && test $1 = $8 && test $7 != 0";
    let outcome = agent.connect().exec(&with_terminal(shell(script)));
    assert_eq!(outcome.end.status, SUCCESS, "{outcome:?}");
    // All output is one stream, and line ends are a terminal's.
    assert_eq!(outcome.stdout_text().split_once("\r\n").unwrap().1, "24 80\r\n iutf8\r\nerr\r\n");
    assert_eq!(outcome.stderr, b"");
    let outcome = agent.connect().exec(&shell("test -t 0 || test -t 1 || exec 3</dev/tty"));
    assert_ne!(outcome.end.status, SUCCESS, "without one there is none");
}

#[test]
fn resizing_is_seen_and_told() {
    let agent = Agent::start();
    let (id, mut connection) = bash(&agent);
    connection.input(b"trap 'echo wi''nch' WINCH; echo rea''dy\r");
    connection.output_until("ready\r\n");
    let size = TerminalSize { rows: 50, cols: 132 };
    assert_eq!(agent.connect().ask(&Request::ExecResize { exec: id, size }), Event::Done);
    connection.input(b"\r");
    connection.output_until("winch\r\n");
    connection.input(b"stty size\r");
    connection.output_until("50 132\r\n");
    connection.input(b"exit 7\r");
    assert_eq!(connection.outcome().end.status, ExitStatus::Exited(7));
    let resize = Request::ExecResize { exec: id, size };
    assert_failure(&agent.connect().ask_failing(&resize), FailureKind::NotFound, "");
}

#[test]
fn an_exec_without_a_terminal_is_not_resized() {
    let agent = Agent::start();
    let spec = program(&["sleep", "1000"]);
    let (exec, mut connection) = (spec.id, agent.connect());
    connection.send(&Request::ExecStart(spec));
    connection.started();
    let resize = Request::ExecResize { exec, size: TerminalSize { rows: 1, cols: 1 } };
    assert_failure(&agent.connect().ask_failing(&resize), FailureKind::Invalid, "no terminal");
}

#[test]
fn keys_interrupt_stop_and_continue() {
    let agent = Agent::start();
    let (_, mut connection) = bash(&agent);
    connection
        .input(b"sh -c 'trap \"echo got-int; exit 3\" INT; echo wai''ting; while :; do sleep 0.01; done'\r");
    connection.output_until("waiting\r\n");
    connection.input(b"\x03");
    connection.output_until("got-int\r\n");
    connection.input(b"echo st''atus-$?\r");
    connection.output_until("status-3\r\n");

    connection.input(b"sh -c 'echo at-''work; read line; echo line-$line'\r");
    connection.output_until("at-work\r\n");
    connection.input(b"\x1a");
    connection.output_until("Stopped");
    connection.input(b"jobs | grep -c Stop''ped; fg\r");
    let resumed = connection.output_until("read line;");
    assert!(resumed.contains("1\r\n"), "{resumed:?}");
    connection.input(b"here\r");
    connection.output_until("line-here\r\n");
    // Not Ctrl-D: typed before bash has the terminal back it ends nobody's input.
    connection.input(b"exit\r");
    assert_eq!(connection.outcome().end.status, SUCCESS);
}

#[test]
fn what_is_typed_and_shown_is_bytes_and_none_is_lost() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let script = "stty raw -echo; echo ready; head -c 3000000 | cksum; echo; stty -raw; cat /dev/null";
    connection.send(&Request::ExecStart(with_terminal(shell(script))));
    connection.started();
    connection.output_until("ready\n");
    let typed: Vec<u8> =
        (0..3_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for piece in typed.chunks(50_000) {
        connection.input(piece);
    }
    let outcome = connection.outcome();
    let file = agent.path("typed");
    std::fs::write(&file, &typed).unwrap();
    let expected =
        std::process::Command::new("cksum").stdin(std::fs::File::open(&file).unwrap()).output().unwrap();
    assert_eq!(outcome.stdout_text().trim(), std::str::from_utf8(&expected.stdout).unwrap().trim());

    let script = "stty raw; seq 400000";
    let outcome = agent.connect().exec(&with_terminal(shell(script)));
    assert_eq!(outcome.end.status, SUCCESS);
    assert!(outcome.stdout.ends_with(b"\n399999\n400000\n"));
    assert_eq!(outcome.stdout.iter().filter(|byte| **byte == b'\n').count(), 400_000);
}

#[test]
fn a_character_may_come_in_two_parts() {
    let agent = Agent::start();
    let (_, mut connection) = bash(&agent);
    for part in [&b"echo \"<\xc3"[..], b"\xa9\xf0\x9f", b"\x8f\x9d>\"\r"] {
        connection.input(part);
    }
    let (mut shown, wanted) = (Vec::new(), "<é🏝>\r\n".as_bytes());
    while !shown.windows(wanted.len()).any(|window| window == wanted) {
        shown.extend(connection.frame().unwrap().1);
    }
}

#[test]
fn it_ends_with_its_first_process_whoever_else_holds_it() {
    let agent = Agent::start();
    let script = "trap '' HUP; sleep 1000 & echo $!; exit 5";
    let outcome = agent.connect().exec(&with_terminal(shell(script)));
    assert_eq!(outcome.end.status, ExitStatus::Exited(5));
    let pid = outcome.stdout_text().trim().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn a_follower_that_does_not_read_slows_the_program_down() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    // Before it answers, the process may be another program yet.
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
    let before = agent.rss_bytes();
    let spec = with_terminal(shell("stty raw; exec yes"));
    connection.send(&Request::ExecStart(spec.clone()));
    let pid = connection.started();
    // It sleeps when nobody takes what it writes, and has used no time since it was looked at before.
    let mut last = String::new();
    eventually("the program waits", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let now = fields[11..13].join(" ");
        let waits = fields[0] == "S" && now == std::mem::replace(&mut last, now.clone());
        std::thread::sleep(Duration::from_millis(50));
        waits && stat.contains("(yes)")
    });
    let grown = agent.rss_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    assert_eq!(agent.connect().ask(&Request::Ping), Event::Pong);
    let signal = Request::ExecSignal { exec: spec.id, signal: 9 };
    assert_eq!(agent.connect().ask(&signal), Event::Done);
    assert_eq!(connection.outcome().end.status, ExitStatus::Signaled(9));
}

#[test]
fn the_terminal_belongs_to_the_programs_user() {
    let agent = Agent::start();
    let spec = ExecSpec {
        uid: 65_534,
        gid: 65_534,
        ..shell("stat -c %u \"$(tty)\" && exec >\"$(tty)\" && echo opened")
    };
    let outcome = agent.connect().exec(&with_terminal(spec));
    assert_eq!(outcome.stdout_text(), "65534\r\nopened\r\n", "{outcome:?}");
}
