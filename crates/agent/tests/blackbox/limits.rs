//! Time limits and kills take the whole tree, however it hides, and nothing else.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
};

use protocol::{
    ExecId, GuestPath,
    agent::{Event, ExecSpec, ExitStatus, FailureKind, Request},
};

use crate::wire::{Agent, Connection, assert_failure, eventually, is_alive, program, shell};

/// A tree of processes that ignore SIGTERM: children, one with a session of its own, a daemon (forked twice,
/// own session, no descriptors) and a daemon with an empty environment. Each writes its pid to a file.
fn tree(agent: &Agent) -> (ExecSpec, [&'static str; 4]) {
    let folder = agent.path("").display().to_string();
    let member = format!(
        "trap \"\" TERM; echo $$ > {folder}$0.new; mv {folder}$0.new {folder}$0; while :; do sleep 1; done"
    );
    let script = format!(
        "trap '' TERM
        sh -c '{member}' child &
        setsid sh -c '{member}' session &
        (setsid sh -c '{member}' daemon </dev/null >/dev/null 2>&1 &)
        (setsid env -i PATH=\"$PATH\" sh -c '{member}' bare </dev/null >/dev/null 2>&1 &)
        for name in child session daemon bare; do while [ ! -e {folder}$name ]; do sleep 0.01; done; done
        echo ready
        while :; do sleep 1; done"
    );
    (shell(&script), ["child", "session", "daemon", "bare"])
}

fn pids(agent: &Agent, names: [&str; 4]) -> [String; 4] {
    names.map(|name| fs::read_to_string(agent.path(name)).unwrap())
}

/// An exec that must survive what is done to others.
fn bystander(agent: &Agent) -> (Connection, ExecSpec, String) {
    let mut connection = agent.connect();
    let spec = shell("(setsid sleep 1000 >/dev/null 2>&1 & echo $!); echo; sleep 1000");
    connection.send(&Request::ExecStart(spec.clone()));
    connection.started();
    let daemon = connection.output_until("\n\n").trim().to_owned();
    (connection, spec, daemon)
}

#[test]
fn a_kill_takes_daemons_too_and_spares_other_execs() {
    let agent = Agent::start();
    let (mut other, other_spec, other_daemon) = bystander(&agent);
    let (spec, names) = tree(&agent);
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(spec.clone()));
    connection.started();
    connection.output_until("ready\n");
    let pids = pids(&agent, names);
    assert!(pids.iter().all(|pid| is_alive(pid)));

    let mut control = agent.connect();
    assert_eq!(control.ask(&Request::ExecSignal { exec: spec.id, signal: libc::SIGKILL }), Event::Done);
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");
    let outcome = connection.outcome();
    assert_eq!(outcome.end.status, ExitStatus::Signaled(libc::SIGKILL));
    assert!(!outcome.end.timed_out);

    assert!(is_alive(&other_daemon));
    assert_eq!(control.ask(&Request::ExecSignal { exec: other_spec.id, signal: libc::SIGKILL }), Event::Done);
    assert!(!is_alive(&other_daemon));
    assert_eq!(other.outcome().end.status, ExitStatus::Signaled(libc::SIGKILL));
    eventually("no children are left", || agent.children().is_empty());
}

#[test]
fn a_time_limit_kills_the_tree() {
    let agent = Agent::start();
    let (mut spec, names) = tree(&agent);
    spec.timeout_ms = Some(2000);
    let outcome = agent.connect().exec(&spec);
    assert_eq!(outcome.stdout, b"ready\n", "the tree was not complete in time");
    assert!(outcome.end.timed_out);
    assert_eq!(outcome.end.status, ExitStatus::Signaled(libc::SIGKILL));
    assert!(outcome.end.wall_us >= 2_000_000);
    let pids = pids(&agent, names);
    assert!(pids.iter().all(|pid| !is_alive(pid)), "{pids:?}");
    eventually("no children are left", || agent.children().is_empty());
}

#[test]
fn a_time_limit_that_is_not_reached_changes_nothing() {
    let agent = Agent::start();
    let mut spec = shell("exit 5");
    spec.timeout_ms = Some(u64::MAX);
    let outcome = agent.connect().exec(&spec);
    assert_eq!((outcome.end.status, outcome.end.timed_out), (ExitStatus::Exited(5), false));
}

#[test]
fn a_stopped_tree_is_killed() {
    let agent = Agent::start();
    let mut spec = shell("kill -STOP $$");
    spec.timeout_ms = Some(200);
    let outcome = agent.connect().exec(&spec);
    assert!(outcome.end.timed_out);
    assert_eq!(outcome.end.status, ExitStatus::Signaled(libc::SIGKILL));
}

#[test]
fn a_tree_that_forks_without_end_is_killed() {
    let agent = Agent::start();
    let tag = format!("atoll-bomb-{}", ExecId::random());
    let stop = agent.path("stop");
    // Doubles itself, each time in a session of its own, until the process limit; then tries on.
    let again = "setsid sh -c \"$BOMB\" \"$0\"";
    let bomb = format!("[ -e \"$STOP\" ] || {{ {again} & {again} & wait; exec sh -c \"$BOMB\" \"$0\"; }}");
    let is_root = rustix::process::geteuid().is_root();
    // Root is above process limits, and another user's own processes count.
    let others = if is_root { 0 } else { fs::read_dir("/proc").unwrap().count() };
    // The main process forks once only: a shell that can't fork gives up.
    let main = "sh -c \"$BOMB\" \"$0\" & wait; exec sleep 1000";
    let mut spec = program(&["prlimit", &format!("--nproc={}", others + 80), "sh", "-c", main, &tag]);
    spec.env.extend([("BOMB".to_owned(), bomb), ("STOP".to_owned(), stop.display().to_string())]);
    if is_root {
        (spec.uid, spec.gid) = (54_321, 54_321);
    }
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(spec.clone()));
    connection.started();
    eventually("it has grown", || tagged_count(&tag) > 50);
    let kill = Request::ExecSignal { exec: spec.id, signal: libc::SIGKILL };
    assert_eq!(agent.connect().ask(&kill), Event::Done);
    let left = tagged_count(&tag);
    fs::write(&stop, "").unwrap();
    assert_eq!(connection.outcome().end.status, ExitStatus::Signaled(libc::SIGKILL));
    assert_eq!(left, 0, "some of the tree survived");
}

#[test]
fn at_the_process_limit_files_stay_reachable() {
    // The limit counts for users other than root, and the agent alone is over it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = folder.path().join("agent");
    fs::copy(env!("CARGO_BIN_EXE_atoll-agent"), &copy).unwrap();
    let user = ["setpriv", "--reuid=54322", "--regid=54322", "--clear-groups"];
    let user = if rustix::process::geteuid().is_root() { &user[..] } else { &["env"] };
    let socket = folder.path().join("own.sock");
    let mut process = Command::new(user[0])
        .args(&user[1..])
        .args(["prlimit", "--nproc=1"])
        .args([copy.as_os_str(), "--unix".as_ref(), socket.as_os_str()])
        .spawn()
        .unwrap();
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut connection = Connection::new(&socket);
    let mut spec = shell("true");
    let owner = fs::metadata(&socket).unwrap();
    (spec.uid, spec.gid) = (owner.uid(), owner.gid());
    let failure = connection.ask_failing(&Request::ExecStart(spec));
    assert_failure(&failure, FailureKind::LimitReached, "start sh: Resource temporarily unavailable");
    let path = GuestPath::absolute(folder.path().join("x/y").to_str().unwrap()).unwrap();
    assert_eq!(connection.file_write(path.clone(), 0o644, &[7; 600_000]), Event::Done);
    assert!(connection.file_read(path, 0, None).unwrap().2 == [7; 600_000]);
    process.kill().unwrap();
    process.wait().unwrap();
}

/// How many living processes have this word on their command line.
fn tagged_count(tag: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|words| words.contains(tag))
        })
        .filter(|entry| is_alive(entry.file_name().to_str().unwrap()))
        .count()
}
