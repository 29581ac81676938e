//! The agent as the first process of a container.

use serde_json::json;

use super::{AGENT, Executor, streaming::gone_ends};
use crate::wire::eventually;

/// In process ids of its own.
const CONTAINER: [&str; 9] = [
    "unshare",
    "--user",
    "--map-root-user",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    AGENT,
    "executor",
];

impl Executor {
    /// Whether its processes have the same ids as here.
    pub(super) fn sees_processes(&self) -> bool {
        self.run("readlink /proc/self/ns/pid")["stdout"].as_str().unwrap().trim()
            == std::fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap()
    }
}

#[test]
fn as_the_first_process_it_does_the_same() {
    let executor = Executor::with(&CONTAINER, &[]);
    assert!(!executor.sees_processes());
    assert_eq!(
        executor.run("echo $PPID; exit 3"),
        json!({"stdout": "1\n", "stderr": "", "error": "Non-zero exit code", "code": 3})
    );
    gone_ends(
        &executor,
        "sleep 1000 & echo $!; setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' & echo $$; wait",
        4,
    );
    let started = executor.post("/start_process", &json!({"cmd": "sleep 1000 & setsid sleep 1000 & wait"}));
    let id = started.json()["id"].as_str().unwrap().to_owned();
    eventually("they run", || executor.run("grep -ls sleep /proc/[0-9]*/comm | wc -l")["stdout"] == "2\n");
    assert_eq!(executor.ask("/kill_process", &json!({"id": id}))["success"], true);
    assert_eq!(executor.run("grep -ls sleep /proc/[0-9]*/comm | wc -l")["stdout"], "0\n");
    // Orphans are buried.
    executor.run("sh -c 'sleep 0.01 &'");
    let zombies = "grep -ls '^State:[[:space:]]*Z' /proc/[0-9]*/status | wc -l";
    eventually("no zombie is left", || executor.run(zombies)["stdout"] == "0\n");
}
