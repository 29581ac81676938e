//! Processes are listed with what they are and what they use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::{
    agent::{Event, ExecSpec, Request, Stdin},
    workspace::ProcessInfo,
};

use crate::wire::{Agent, Connection, eventually, program, shell};

fn list(agent: &Agent) -> Vec<ProcessInfo> {
    let (processes, last) = agent.connect().lists(&Request::ProcessList);
    assert_eq!(last, Event::Done);
    processes
}

fn started(agent: &Agent, spec: ExecSpec) -> (i32, Connection) {
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(spec));
    (connection.started(), connection)
}

fn find(agent: &Agent, pid: i32) -> Option<ProcessInfo> {
    list(agent).into_iter().find(|process| process.pid == pid)
}

#[test]
fn one_is_listed_as_it_is_while_it_runs() {
    let agent = Agent::start();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let argv = ["sh", "-c", "read line", "sh", ""];
    let (pid, connection) = started(&agent, ExecSpec { stdin: Stdin::Piped, ..program(&argv) });
    let found = find(&agent, pid).unwrap();
    assert_eq!((found.name.as_str(), found.parent), ("sh", agent.pid().cast_signed()));
    assert_eq!(found.argv, argv);
    assert!(matches!(found.state, 'S' | 'R' | 'D'), "{found:?}");
    assert!(found.memory_bytes > 100 << 10 && found.memory_bytes < 100 << 20, "{found:?}");
    // A clock tick is 10 ms, and the clock may be set meanwhile, but not in a test.
    let at = Duration::from_millis(u64::try_from(found.started_at_ms).unwrap());
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let tick = Duration::from_millis(20);
    assert!(before - tick <= at && at <= after + tick, "{before:?} {at:?} {after:?}");
    assert!(list(&agent).iter().all(|process| process.pid != agent.pid().cast_signed()), "the agent itself");
    connection.close();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("it is gone", || find(&agent, pid).is_none());
}

#[test]
fn long_arguments_are_cut_and_lists_of_any_length_come() {
    let agent = Agent::start();
    let long = "x".repeat(100 << 10);
    let (pid, _connection) = started(&agent, program(&["sh", "-c", "sleep 1000; exit", &long]));
    let argv = find(&agent, pid).unwrap().argv;
    assert_eq!((argv.len(), &argv[..2]), (4, &["sh".to_owned(), "-c".to_owned()][..]));
    assert!(argv[3].len() > 1000 && argv[3].len() < 8 << 10);
    let script = "for i in $(seq 40); do sh -c 'sleep 1000; exit' $(head -c 100000 /dev/zero | tr '\\0' x) & done; \
        echo ready; wait";
    let mut connection = agent.connect();
    connection.send(&Request::ExecStart(shell(script)));
    let parent = connection.started();
    connection.output_until("ready\n");
    eventually("all of them are listed", || {
        let children = list(&agent).into_iter().filter(|process| process.parent == parent);
        children.filter(|process| process.name == "sh").count() == 40
    });
}

#[test]
fn what_is_used_shows() {
    let agent = Agent::start();
    let (busy, _busy) = started(&agent, shell("while :; do :; done"));
    let (idle, _idle) = started(&agent, program(&["sleep", "1000"]));
    eventually("the busy one uses more than the idle one", || {
        let busy = find(&agent, busy).unwrap();
        busy.cpu_millis > 0 && busy.cpu_millis <= 1100
    });
    assert_eq!(find(&agent, idle).unwrap().cpu_millis, 0);
}
