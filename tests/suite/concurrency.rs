//! Many at once, and each with its own answer.

use std::thread;

use blackbox::Server;
use serde_json::json;

#[test]
fn a_hundred_one_shots_at_once_each_have_their_own_output() {
    let server = Server::start();
    thread::scope(|scope| {
        let runs: Vec<_> = (0..100)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let token = format!("token-{number}-{}", number * 7919);
                    let run = server.execute(&json!({
                        "runtime": "bash", "env_vars": {"TOKEN": token}, "code": "echo $TOKEN > own; sleep 0.05; cat own; ls | wc -l",
                    }));
                    assert_eq!(run.output(), format!("{token}\n2\n"));
                })
            })
            .collect();
        for run in runs {
            run.join().unwrap();
        }
    });
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
}

#[test]
fn stored_sandboxes_of_all_languages_run_at_once() {
    let server = Server::start();
    let programs = [
        ("node", "console.log('node', process.env.N)"),
        ("bun", "console.log('bun', process.env.N)"),
        ("typescript", "console.log('typescript', process.env.N as string)"),
        ("python", "import os; print('python', os.environ['N'])"),
        ("bash", "echo bash $N"),
    ];
    thread::scope(|scope| {
        for number in 0..20 {
            let (server, (runtime, code)) = (&server, programs[number % 5]);
            scope.spawn(move || {
                let id = server.create(&json!({
                    "runtime": runtime, "code": code, "env_vars": {"N": number}, "timeout_ms": 120_000,
                    "memory_limit_mb": 512,
                }));
                assert_eq!(server.run(&id).output(), format!("{runtime} {number}\n"));
                server.remove(&id);
            });
        }
    });
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
}

#[test]
fn more_than_may_run_at_once_wait_or_are_told_to_come_again() {
    let server = Server::start_with(&["--running-max", "3"]);
    let results: Vec<bool> = thread::scope(|scope| {
        let runs: Vec<_> = (0..20)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let program = json!({"runtime": "bash", "code": format!("sleep 0.1; echo {number}")});
                    let answer = server.post("/execute", &program);
                    if answer.status == 429 {
                        assert!(answer.header("retry-after").is_some());
                        return false;
                    }
                    assert_eq!(blackbox::Run::of(&answer).output(), format!("{number}\n"));
                    true
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(results.iter().filter(|done| **done).count() >= 3);
    assert_eq!(server.execute_code("bash", "echo after").output(), "after\n");
}
