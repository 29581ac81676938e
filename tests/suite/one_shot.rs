//! Sandboxes whose program runs to its end: once or often, with files, and nothing alive in between.

use std::{fs::File, io::Read, thread};

use base64::{Engine, prelude::BASE64_STANDARD};
use blackbox::{Server, deadline::wait_until};
use serde_json::json;
use sha2::{Digest, Sha256};

#[test]
fn an_execution_can_be_repeated_and_finds_its_files_again() {
    let server = Server::start();
    let id = server
        .create(&json!({"runtime": "bash", "code": "cat seen 2>/dev/null; echo again >> seen; echo ran"}));
    assert_eq!(server.run(&id).output(), "ran\n");
    assert_eq!(server.run(&id).output(), "again\nran\n");
    assert_eq!(server.run(&id).output(), "again\nagain\nran\n");
    // The same code through /execute starts from nothing.
    assert_eq!(server.execute_code("bash", "ls -A").output(), "main.sh\n");
}

#[test]
fn uploaded_files_are_there_for_the_next_execution() {
    let server = Server::start();
    let id = server.create(
        &json!({"runtime": "bash", "code": "./tools/run.sh; ls -l tools | awk 'NR > 1 {print $1, $NF}'"}),
    );
    let upload = |files| server.post(&format!("/sandbox/{id}/files"), &files).ok();
    let answer = upload(json!([
        {"path": "tools/run.sh", "content": "#!/bin/bash\necho first\n", "is_executable": true},
        {"path": "/sandbox/tools/plain", "content": "text"},
    ]));
    assert_eq!(answer, json!({"message": "Files uploaded successfully", "sandbox_id": id}));
    assert_eq!(server.run(&id).output(), "first\n-rw-r--r-- plain\n-rwxr-xr-x run.sh\n");
    let _ = upload(
        json!([{"path": "tools/run.sh", "content": "#!/bin/sh\necho second\n", "is_executable": true}]),
    );
    assert!(server.run(&id).output().starts_with("second\n"));
    let _ = upload(json!([]));
}

/// More files than the agent's answers fit into a socket, and larger together than the other direction holds.
#[test]
fn a_project_of_many_files_arrives_whole() {
    let server = Server::start();
    let content = "x".repeat(1000);
    let files = |folder: &str, count: usize| -> Vec<_> {
        (0..count).map(|number| json!({"path": format!("{folder}/{number}"), "content": content})).collect()
    };
    let code = "cat a/* | wc -c";
    let program = json!({"runtime": "bash", "code": code, "files": files("a", 5000)});
    assert_eq!(server.execute(&program).output(), "5000000\n");

    let waits =
        json!({"runtime": "bash", "mode": "persistent", "code": "sleep 60", "files": files("a", 2000)});
    let id = server.create(&waits);
    assert_eq!(server.run(&id).exit_code, 0);
    let _ = server.post(&format!("/sandbox/{id}/files"), &json!(files("b", 2000))).ok();
    server.remove(&id);
}

#[test]
fn status_and_listing_follow_the_life_of_a_sandbox() {
    let server = Server::start();
    let good = server
        .create(&json!({"runtime": "bash", "code": "exit 0", "timeout_ms": 5000, "memory_limit_mb": 64}));
    let bad = server.create(&json!({"runtime": "bash", "code": "exit 1"}));
    assert_eq!((server.status(&good), server.status(&bad)), ("created".to_owned(), "created".to_owned()));
    let _ = (server.run(&good), server.run(&bad));
    assert_eq!((server.status(&good), server.status(&bad)), ("completed".to_owned(), "failed".to_owned()));
    let list = server.get("/sandboxes").ok();
    assert_eq!(list, server.get("/sandbox").ok());
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [bad.as_str(), good.as_str()], "the newest first");
    assert_eq!((&list[1]["timeout_ms"], &list[1]["memory_limit_mb"]), (&json!(5000), &json!(64)));
    server.remove(&good);
    assert!(server.get(&format!("/sandbox/{good}")).error(404).contains(&good));
    assert!(server.post_empty(&format!("/sandbox/{good}/execute")).error(404).contains(&good));
}

#[test]
fn an_ended_sandbox_holds_no_process_and_no_control_group() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000 & echo started"}));
    assert_eq!(server.run(&id).output(), "started\n");
    assert_eq!(server.status(&id), "completed");
    wait_until("nothing of the ended sandbox runs", || {
        let left = server.traces().beyond(&before);
        server.traces().programs().is_empty() && left.iter().all(|it| it.starts_with("files"))
    });
}

#[test]
fn a_file_reaches_a_program_that_runs() {
    let server = Server::start();
    let code = "echo waiting; until [ -s go ]; do sleep 0.02; done; cat go";
    let id = server.create(&json!({"runtime": "bash", "code": code}));
    thread::scope(|scope| {
        let run = scope.spawn(|| server.run(&id));
        wait_until("it runs", || server.status(&id) == "running");
        let files = json!([{"path": "go", "content": "went on
"}]);
        let _ = server.post(&format!("/sandbox/{id}/files"), &files).ok();
        assert_eq!(
            run.join().unwrap().output(),
            "waiting
went on
"
        );
    });
}

#[test]
fn executions_of_one_sandbox_at_once_do_not_mix() {
    let server = Server::start();
    let code = "mkdir alone || exit 9; echo one; sleep 0.2; echo two; rmdir alone";
    let id = server.create(&json!({"runtime": "bash", "code": code}));
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| server.run(&id))).collect();
        for run in runs {
            assert_eq!(
                run.join().unwrap().output(),
                "one
two
"
            );
        }
    });
    assert_eq!(server.status(&id), "completed");
}

#[test]
fn deleting_a_sandbox_ends_what_runs_in_it() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000"}));
    thread::scope(|scope| {
        let run = scope.spawn(|| server.post_empty(&format!("/sandbox/{id}/execute")));
        wait_until("it runs", || server.status(&id) == "running");
        server.remove(&id);
        let answer = run.join().unwrap();
        assert!(answer.status != 200 || answer.json()["success"] == false, "{answer:?}");
    });
    assert_eq!(server.get(&format!("/sandbox/{id}")).status, 404);
    server.nothing_left(&before);
}

#[test]
fn a_request_that_is_broken_off_leaves_a_sandbox_that_can_be_used() {
    let server = Server::start();
    let id = server.create(&json!({"runtime": "bash", "code": "echo ran; sleep 0.3"}));
    {
        use std::io::Write;
        let mut connection = std::net::TcpStream::connect(server.address()).unwrap();
        let head =
            format!("POST /sandbox/{id}/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        wait_until("it runs", || server.status(&id) == "running");
    }
    wait_until("it has ended", || server.status(&id) != "running");
    assert_eq!(server.run(&id).output(), "ran\n");
}

#[test]
fn entry_points_name_files_and_commands() {
    let server = Server::start();
    let run = |entry: &str| {
        let files = json!([{"path": "other.sh", "content": "echo other"}]);
        server.execute(
            &json!({"runtime": "bash", "code": "echo code in $0", "entry_point": entry, "files": files}),
        )
    };
    assert_eq!(run("deep/er/name.sh").output(), "code in /sandbox/deep/er/name.sh\n");
    assert_eq!(run("other.sh").output(), "other\n");
    assert_eq!(run("bash main.sh").output(), "code in main.sh\n");
    assert_eq!(run("for i in 1 2; do echo $i; done").output(), "1\n2\n");
    let missing = run("no-such-program --flag");
    assert_eq!(missing.exit_code, 127, "{missing:?}");
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
}

#[test]
fn twenty_megabytes_arrive_byte_by_byte() {
    let server = Server::start();
    let mut bytes = vec![0; 20 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    let expected: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let id = server.create(&json!({"runtime": "bash", "code": "sha256sum < random; wc -c < random"}));
    let files = json!([{"path": "random", "content": BASE64_STANDARD.encode(&bytes), "encoding": "base64"}]);
    let _ = server.post(&format!("/sandbox/{id}/files"), &files).ok();
    assert_eq!(server.run(&id).output(), format!("{expected}  -\n{}\n", bytes.len()));
    let broken = json!([{"path": "random", "content": "no base64!", "encoding": "base64"}]);
    let error = server.post(&format!("/sandbox/{id}/files"), &broken).error(400);
    assert!(error.starts_with("files[0].content: "), "{error}");
}

#[test]
fn sixty_megabytes_of_many_files_fit_into_one_request() {
    let server = Server::start();
    let content = "0123456789abcdef".repeat(4096 * 15);
    let files: Vec<_> = (0..62)
        .map(|number| json!({"path": format!("d{}/f{number}", number % 7), "content": content}))
        .collect();
    let run = server.execute(&json!({
        "runtime": "bash", "code": "find . -name 'f*' | wc -l; cat d*/f* | wc -c; cat d*/f* | tr -d 0-9a-f | wc -c",
        "files": files, "timeout_ms": 60_000,
    }));
    assert_eq!(run.output(), format!("62\n{}\n0\n", 62 * content.len()));
}

#[test]
fn output_that_is_no_text_is_returned_as_text() {
    let server = Server::start();
    let run = server.execute_code("bash", r"printf 'a\xff\x00b\xc3'; printf 'no newline' >&2");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("a\u{fffd}\u{0}b\u{fffd}", "no newline"));
    assert!(run.success);
}
