//! What is on the host before and after: processes, control groups, mounts, interfaces and files.

use std::thread;

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

#[test]
fn after_runs_deletions_and_failures_nothing_is_left() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let programs: [(Value, bool); 9] = [
        (json!({"runtime": "bash", "code": "echo fine"}), false),
        (json!({"runtime": "node", "code": "throw 1"}), false),
        (json!({"runtime": "typescript", "code": "const n: number = ''"}), false),
        (json!({"runtime": "bash", "code": "sleep 1000", "timeout_ms": 200}), false),
        (json!({"runtime": "bash", "code": "kill -KILL $$"}), false),
        (json!({"runtime": "bash", "code": "echo net", "install_deps": true}), false),
        (
            json!({"runtime": "bash", "code": "setsid sleep 1000 & mkdir -p a/b/c; chmod 0 a; echo left"}),
            false,
        ),
        (json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}), true),
        (
            json!({"runtime": "python", "code": "import time\nwhile 1: time.sleep(9)", "mode": "persistent", "install_deps": true}),
            true,
        ),
    ];
    let ids: Vec<String> = thread::scope(|scope| {
        let started: Vec<_> = programs
            .iter()
            .map(|(program, _)| {
                scope.spawn(|| {
                    let id = server.create(program);
                    let _ = server.run(&id);
                    let _ = server.post("/execute", &json!({"runtime": "bash", "code": "exit 1"}));
                    id
                })
            })
            .collect();
        started.into_iter().map(|started| started.join().unwrap()).collect()
    });
    let during = server.traces();
    assert!(!during.beyond(&before).is_empty(), "the look sees what runs: {during:#?}");
    assert!(
        during.groups.len() >= 2 && !during.interfaces.is_empty() && !during.processes.is_empty(),
        "{during:#?}"
    );
    for (id, (program, persistent)) in ids.iter().zip(&programs) {
        assert_eq!(server.status(id) == "running", *persistent, "{program}");
        server.remove(id);
    }
    server.nothing_left(&before);
}

#[test]
fn a_refused_request_leaves_nothing() {
    let server = Server::start();
    let before = server.traces_at_rest();
    for body in [
        json!({}),
        json!({"runtime": "bash", "code": ""}),
        json!({"runtime": "bash", "code": "1", "files": [{"path": "/x", "content": ""}]}),
    ] {
        assert_eq!(server.post("/sandbox", &body).status, 400);
        assert_eq!(server.post("/execute", &body).status, 400);
    }
    let id = server.create(&json!({"runtime": "bash", "code": "1"}));
    server.remove(&id);
    server.nothing_left(&before);
}

#[test]
fn two_hundred_sandboxes_do_not_use_the_server_up() {
    let server = Server::start();
    for _ in 0..10 {
        let _ = server.execute_code("bash", "true");
    }
    let (launcher, own) = (server.launcher_pid(), server.pid());
    let open_files = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = server.traces_at_rest();
    let (own_before, launcher_before) = (open_files(own), open_files(launcher));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                (0..50).for_each(|_| assert_eq!(server.execute_code("bash", "echo $$").exit_code, 0))
            });
        }
    });
    server.nothing_left(&before);
    assert_eq!(server.launcher_pid(), launcher);
    // Of a user namespace one stays open for each of the sandboxes that ran at once, not for each that ran.
    assert!(open_files(launcher) <= launcher_before + 16, "{} were {launcher_before}", open_files(launcher));
    // Four clients' connections may still be kept alive.
    wait_until("the server has closed its files", || open_files(own) <= own_before + 8);
    let threads: usize = blackbox::status_field(own, "Threads").unwrap().parse().unwrap();
    assert!(threads < 600, "{threads} threads");
}

#[test]
fn a_client_that_goes_away_in_the_middle_leaves_nothing() {
    use std::io::Write;
    let server = Server::start();
    let before = server.traces_at_rest();
    let body = json!({"runtime": "bash", "code": "sleep 1000", "timeout_ms": 3000}).to_string();
    let head = format!(
        "POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    wait_until("it runs", || !server.traces().programs().is_empty());
    drop(connection);
    server.nothing_left(&before);
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
}
