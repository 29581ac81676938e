//! What a program finds when it starts: its user, its environment, and nothing of the agent's.

use std::{fs, os::unix::fs::PermissionsExt};

use protocol::agent::{Event, ExecSpec, FailureKind, Request};

use crate::wire::{Agent, SUCCESS, assert_failure, program, shell};

fn output(agent: &Agent, spec: &ExecSpec) -> String {
    let outcome = agent.connect().exec(spec);
    assert_eq!(outcome.end.status, SUCCESS, "{outcome:?}");
    outcome.stdout_text().to_owned()
}

#[test]
fn the_environment_is_the_given_one_and_the_mark() {
    let agent = Agent::start();
    let mut spec = program(&["/usr/bin/env"]);
    spec.env = vec![("A".to_owned(), "1".to_owned()), ("ATOLL_EXEC".to_owned(), "forged".to_owned())];
    assert_eq!(output(&agent, &spec), format!("ATOLL_EXEC={}\nA=1\n", spec.id));
}

#[test]
fn the_folder_is_the_given_one() {
    let agent = Agent::start();
    let mut spec = shell("pwd -P");
    spec.cwd = agent.guest_path("");
    let expected = fs::canonicalize(agent.path("")).unwrap();
    assert_eq!(output(&agent, &spec).trim(), expected.to_str().unwrap());
}

#[test]
fn no_descriptor_but_the_standard_ones_is_inherited() {
    let agent = Agent::start();
    // With another exec's pipes open in the agent.
    let mut other = agent.connect();
    other.send(&Request::ExecStart(program(&["sleep", "30"])));
    other.started();
    // The fourth is the folder that `ls` itself reads.
    assert_eq!(output(&agent, &program(&["ls", "/proc/self/fd"])), "0\n1\n2\n3\n");
}

#[test]
fn signals_are_unblocked_and_have_their_default_effect() {
    let agent = Agent::start();
    let status = output(&agent, &program(&["cat", "/proc/self/status"]));
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}

#[test]
fn it_leads_a_session_and_is_the_first_to_go_when_memory_is_short() {
    let agent = Agent::start();
    let text = output(&agent, &shell("cut -d' ' -f1,5,6 /proc/$$/stat; cat /proc/$$/oom_score_adj; umask"));
    let lines: Vec<&str> = text.lines().collect();
    let ids: Vec<&str> = lines[0].split(' ').collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{text}");
    assert_eq!(lines[1..], ["1000", "0022"]);
    let own = fs::read_to_string(format!("/proc/{}/oom_score_adj", agent.pid())).unwrap();
    assert_eq!(own.trim(), fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim());
}

#[test]
fn it_runs_as_the_given_user_without_other_groups() {
    let agent = Agent::start();
    let mut spec = shell("id -u; id -g; id -G; grep CapEff /proc/self/status");
    (spec.uid, spec.gid) = (12_345, 23_456);
    if rustix::process::geteuid().is_root() {
        assert_eq!(output(&agent, &spec), "12345\n23456\n23456\nCapEff:\t0000000000000000\n");
        // The folder is entered as that user.
        fs::create_dir(agent.path("private")).unwrap();
        fs::set_permissions(agent.path("private"), fs::Permissions::from_mode(0o700)).unwrap();
        spec.cwd = agent.guest_path("private");
        let failure = agent.connect().ask_failing(&Request::ExecStart(spec));
        assert_failure(&failure, FailureKind::Denied, "enter the folder");
    } else {
        let failure = agent.connect().ask_failing(&Request::ExecStart(spec));
        assert_failure(&failure, FailureKind::Denied, "become user 12345 and group 23456");
    }
    assert_eq!(agent.connect().ask(&Request::Ping), Event::Pong);
}
