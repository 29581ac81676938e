//! Who may ask, what those get who ask wrongly, and when the agent does not start.

use std::process::Command;

use serde_json::json;

use super::{AGENT, BEARER, Executor, is_text};

#[test]
fn health_alone_needs_no_secret() {
    let executor = Executor::start();
    let answer = executor.request("GET", "/health", "", b"");
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
    for header in [
        "",
        "Authorization: s3cret\r\n",
        "Authorization: bearer s3cret\r\n",
        "Authorization: Bearer  s3cret\r\n",
        "Authorization: Bearer S3cret\r\n",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3crets\r\n",
        "Authorization: Basic s3cret\r\n",
        "X-EXECD-ACCESS-TOKEN: s3cret\r\n",
    ] {
        // Before the body is looked at.
        for (method, path, body) in [
            ("POST", "/run", "no json"),
            ("GET", "/list_processes", ""),
            ("GET", "/nope", ""),
            ("GET", "/health/", ""),
        ] {
            is_text(executor.request(method, path, header, body.as_bytes()), 401, "Unauthorized");
        }
    }
}

#[test]
fn what_is_not_there_says_so() {
    let executor = Executor::start();
    is_text(executor.get("/nope"), 404, "Not found");
    is_text(executor.get("/"), 404, "Not found");
    let answer = executor.get("/run");
    assert_eq!(answer.header("allow"), Some("POST"));
    is_text(answer, 405, "Method not allowed");
    is_text(executor.request("POST", "/list_processes", BEARER, b""), 405, "Method not allowed");
    is_text(executor.request("POST", "/health", "", b""), 405, "Method not allowed");
}

#[test]
fn bad_requests_have_the_texts_of_the_original() {
    let executor = Executor::start();
    let paths = [
        "/run",
        "/run_streaming",
        "/start_process",
        "/write_file",
        "/read_file",
        "/bind_port",
        "/kill_process",
    ];
    for body in [
        "",
        "{",
        "[]",
        "[\"true\"]",
        "1",
        "null",
        "\"x\"",
        "{\"cmd\":\"a\\ud800\",\"path\":\"\\ud800\",\"port\":\"\\ud800\",\"id\":\"\\ud800\"}",
    ] {
        for path in paths {
            is_text(executor.request("POST", path, BEARER, body.as_bytes()), 400, "Invalid request");
        }
    }
    for path in ["/run", "/run_streaming", "/start_process"] {
        is_text(executor.post(path, &json!({"cmd": 1})), 400, "Invalid request");
        is_text(executor.post(path, &json!({"cmd": "true", "env": {"A": 1}})), 400, "Invalid request");
        is_text(
            executor.post(path, &json!({"cmd": "true", "cwd": "/no/such"})),
            400,
            "Invalid working directory: /no/such",
        );
        is_text(
            executor.post(path, &json!({"cmd": "true", "cwd": "/etc/passwd"})),
            400,
            "Invalid working directory: /etc/passwd",
        );
        is_text(executor.post(path, &json!({})), 400, "Command is required");
    }
    is_text(executor.post("/start_process", &json!({"cmd": ""})), 400, "Command is required");
    is_text(executor.post("/bind_port", &json!({"port": 8098})), 400, "Invalid request");
    is_text(executor.post("/bind_port", &json!({})), 400, "Port is required");
    is_text(executor.post("/bind_port", &json!({"port": ""})), 400, "Port is required");
    for port in ["0", "65536", "-1", "+80", "http", " 80"] {
        is_text(executor.post("/bind_port", &json!({"port": port})), 400, &format!("Invalid port: {port}"));
    }
    is_text(executor.post("/kill_process", &json!({})), 400, "Process ID is required");
    is_text(executor.get("/process_logs_streaming"), 400, "Process ID is required");
}

#[test]
fn without_a_secret_or_with_a_port_that_is_none_it_does_not_start() {
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let ran = Command::new(AGENT)
            .args(words)
            .env_remove("SANDBOX_SECRET")
            .envs(variables.iter().copied())
            .output();
        let ran = ran.unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap(), String::from_utf8(ran.stdout).unwrap())
    };
    for (words, variables) in [
        (&["executor"][..], &[][..]),
        (&["executor"], &[("SANDBOX_SECRET", "")]),
        (&[], &[("SANDBOX_SECRET", "")]),
    ] {
        let (code, text, _) = run(words, variables);
        assert!(code == Some(1) && text.contains("SANDBOX_SECRET is not set, or empty"), "{words:?}: {text}");
    }
    let (code, text, _) = run(&[], &[]);
    assert!(code == Some(2) && text.contains("atoll-agent executor"), "{text}");
    for variable in ["PORT", "PROXY_PORT"] {
        let (code, text, _) = run(&["executor"], &[("SANDBOX_SECRET", "x"), (variable, "70000")]);
        assert!(code == Some(1) && text.contains(&format!("{variable}=\"70000\" is no port")), "{text}");
    }
    let (code, _, help) = run(&["executor", "--help"], &[]);
    assert!(code == Some(0) && help.contains("SANDBOX_SECRET") && help.contains("PROXY_PORT"), "{help}");
}

#[test]
fn it_starts_by_its_variables_alone_and_hides_the_secret_from_commands() {
    let executor = Executor::with(&[AGENT], &[("VISIBLE", "yes")]);
    let ran = executor.run("echo \"${SANDBOX_SECRET-none} $VISIBLE\"; tr '\\0' '\\n' < /proc/$PPID/environ 2>&1 | grep -c s3cret");
    let lines: Vec<&str> = ran["stdout"].as_str().unwrap().lines().collect();
    assert_eq!(lines[0], "none yes");
}
