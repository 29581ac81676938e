//! A terminal is hung up: its programs are told, and do not outlive that.

use protocol::{
    ExecId,
    agent::{Event, ExecSpec, ExitStatus, FailureKind, Request, TerminalSize},
};

use crate::wire::{Agent, Connection, assert_failure, eventually, is_alive, shell};

fn started(agent: &Agent, script: &str) -> (ExecId, Connection) {
    let terminal = Some(TerminalSize { rows: 24, cols: 80 });
    let spec = ExecSpec { terminal, retain_bytes: 4096, ..shell(script) };
    let (id, mut connection) = (spec.id, agent.connect());
    connection.send(&Request::ExecStart(spec));
    connection.started();
    (id, connection)
}

#[test]
fn programs_are_told_and_may_say_a_last_word() {
    let agent = Agent::start();
    let (exec, mut connection) =
        started(&agent, "trap 'echo la''st; exit 3' HUP; echo rea''dy; while :; do sleep 0.01; done");
    connection.output_until("ready\r\n");
    assert_eq!(agent.connect().ask(&Request::ExecHangUp { exec }), Event::Done);
    let outcome = connection.outcome();
    assert_eq!(outcome.end.status, ExitStatus::Exited(3));
    assert!(outcome.stdout_text().contains("last\r\n"), "{outcome:?}");
}

#[test]
fn what_takes_no_notice_is_killed_with_all_it_started() {
    let agent = Agent::start();
    let script = "trap '' HUP; setsid sh -c 'trap \"\" HUP; echo pid=$$; while :; do sleep 1; done' & \
        while :; do sleep 1; done";
    let (exec, mut connection) = started(&agent, script);
    let shown = connection.output_until("\r\n");
    let child = shown.trim().strip_prefix("pid=").unwrap().to_owned();
    assert_eq!(agent.connect().ask(&Request::ExecHangUp { exec }), Event::Done);
    assert_eq!(connection.outcome().end.status, ExitStatus::Signaled(9));
    eventually("its child is gone too", || !is_alive(&child));
}

#[test]
fn a_terminal_that_nobody_knows_is_not_hung_up() {
    let agent = Agent::start();
    let failure = agent.connect().ask_failing(&Request::ExecHangUp { exec: ExecId::random() });
    assert_failure(&failure, FailureKind::NotFound, "there is none");
}
