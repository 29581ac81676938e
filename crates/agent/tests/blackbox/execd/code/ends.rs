//! A context that dies is told, and can be made anew.

use serde_json::Value;

use super::{create, error, run, value, written};
use crate::{
    http::HttpAgent,
    wire::{eventually, is_alive},
};

fn assert_died(error: &Value, reason: &str) {
    assert_eq!(error["ename"], "ContextDied", "{error}");
    assert!(error["evalue"].as_str().unwrap().contains(reason), "{error}");
}

#[test]
fn the_end_of_its_process_is_an_error_and_the_next_run_begins_anew() {
    let agent = HttpAgent::start();
    for (language, set, ends) in [
        (
            "python",
            "x = 1",
            [("import os; os._exit(3)", "status 3"), ("import os; os.kill(os.getpid(), 9)", "signal 9")],
        ),
        (
            "javascript",
            "x = 1",
            [("process.exit(4)", "status 4"), ("process.kill(process.pid, 'SIGKILL')", "signal 9")],
        ),
        ("bash", "x=1", [("exit 5", "status 5"), ("echo before; exec true", "status 0")]),
    ] {
        let id = create(&agent, language);
        for (code, reason) in ends {
            run(&agent, &id, set);
            assert_died(&error(&agent, &id, code), reason);
            let events = super::begin(&agent, &id, "x").events();
            assert_eq!(events[1]["execution_count"], 1, "{language}");
            assert_eq!(events.last().unwrap()["type"], "error", "{language}: {events:?}");
        }
    }
}

#[test]
fn a_death_between_runs_is_told_by_the_next() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let pid = value(&agent, &id, "import os; os.getpid()");
    agent.command(&serde_json::json!({"command": format!("kill -9 {pid}")}));
    assert_died(&error(&agent, &id, "1"), "signal 9");
    assert_eq!(value(&agent, &id, "2"), "2");
}

#[test]
fn what_a_dead_context_leaves_running_ends_with_it() {
    let agent = HttpAgent::start();
    let id = create(&agent, "bash");
    let pid = written(&run(&agent, &id, "setsid sleep 1000 >/dev/null 2>&1 & echo $!"), "stdout");
    assert!(is_alive(&pid));
    assert_died(&error(&agent, &id, "exit"), "status 0");
    eventually("its daemon is gone", || !is_alive(&pid));
}

#[test]
fn contexts_outlive_the_template_and_there_is_another() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    run(&agent, &id, "x = 5");
    let own = value(&agent, &id, "import os; os.getpid()");
    // The template, and what it has forked for the next.
    let others: Vec<String> = agent.agent.children().into_iter().filter(|pid| *pid != own).collect();
    assert!(!others.is_empty());
    agent.command(&serde_json::json!({"command": format!("kill -9 {}", others.join(" "))}));
    eventually("they are gone", || {
        !others.iter().any(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap())
    });
    assert_eq!(value(&agent, &id, "x"), "5");
    let other = create(&agent, "python");
    assert_eq!(value(&agent, &other, "6"), "6");
}

#[test]
fn a_context_ends_with_its_agent_also_while_it_computes() {
    for (language, code) in [
        ("python", "import os\nprint('on', os.getpid())\nwhile True: pass"),
        ("javascript", "console.log('on', process.pid); while (true) {}"),
        ("bash", "echo on $$; while :; do :; done"),
    ] {
        let agent = HttpAgent::start();
        let id = create(&agent, language);
        let mut answer = super::begin(&agent, &id, code);
        let mut read = String::new();
        while !read.contains("\"text\":\"on") {
            read.push_str(std::str::from_utf8(&answer.chunk()).unwrap());
        }
        let contexts = agent.agent.children();
        assert!(!contexts.is_empty());
        std::process::Command::new("kill").args(["-9", &agent.agent.pid().to_string()]).status().unwrap();
        eventually("all of them have ended", || !contexts.iter().any(|pid| is_alive(pid)));
    }
}
