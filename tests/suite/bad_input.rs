//! Requests that are wrong: each is refused with its status and a text that names the part, and leaves no
//! sandbox behind.

use blackbox::Server;
use serde_json::{Value, json};

const UNKNOWN_ID: &str = "fab81d7c-f665-432b-85c4-f9d380019709";

/// A request that is right, with these fields on top.
fn program(fields: &Value) -> Value {
    let mut body = json!({"runtime": "node", "code": "1"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// Both routes that take a program refuse it with 400 and a text that begins with the field's name.
#[track_caller]
fn refused(server: &Server, fields: &Value, field: &str) {
    for path in ["/sandbox", "/execute"] {
        let error = server.post(path, &program(fields)).error(400);
        assert!(error.starts_with(&format!("{field}: ")), "{path} {fields}: {error}");
    }
    assert_eq!(server.get("/sandboxes").ok(), json!([]), "{fields}");
}

#[test]
fn a_malformed_body_is_refused() {
    let server = Server::start();
    for body in [
        "",
        "{",
        "nonsense",
        "{\"runtime\": \"node\" \"code\": \"1\"}",
        "\u{0}",
        "{\"runtime\": \"node\", \"code\": \"1\"}{}",
    ] {
        for path in ["/sandbox", "/execute"] {
            let error = server.post_bytes(path, body.as_bytes()).error(400);
            assert!(error.contains("body"), "{path} {body:?}: {error}");
        }
    }
    for body in [b"\xff\xfe".as_slice(), b"{\"runtime\": \"node\", \"code\": \"\xff\"}"] {
        assert!(server.post_bytes("/sandbox", body).error(400).contains("body"));
    }
    // So deep that a parser without a limit would run out of stack.
    let deep = "[".repeat(200_000);
    assert!(!server.post_bytes("/sandbox", deep.as_bytes()).error(400).is_empty());
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
}

/// Bodies for the routes that take a program, and how the text begins that each is refused with.
const WRONG_PROGRAMS: &[(&str, &str)] = &[
    ("", "the request has no body"),
    (" ", "the body is not valid JSON: "),
    ("{", "the body is not valid JSON: "),
    ("{}{}", "the body: missing field `runtime`"),
    (r#"{"runtime":"node","code":"1"} x"#, "the body is not valid JSON: trailing characters"),
    (r#"{"runtime":"node","code":"\ud800"}"#, "the body is not valid JSON: "),
    ("{\"runtime\":\"node\",\"code\":\"\u{1}\"}", "the body is not valid JSON: "),
    ("[]", "the body: invalid type: sequence, expected a JSON object"),
    (r#"["node","1"]"#, "the body: invalid type: sequence, expected a JSON object"),
    (r#"["node","1",null,null,null,null,null,null,null,null]"#, "the body: invalid type: sequence"),
    ("null", "the body: invalid type: null, expected a JSON object"),
    ("3", "the body: invalid type: integer `3`, expected a JSON object"),
    ("\"\"", "the body: invalid type: string \"\", expected a JSON object"),
    ("true", "the body: invalid type: boolean `true`, expected a JSON object"),
    ("{}", "the body: missing field `runtime`"),
    (r#"{"runtime":"node"}"#, "the body: missing field `code`"),
    (r#"{"runtime":"node","code":"1","code":"2"}"#, "the body: duplicate field `code`"),
    (r#"{"files":3}"#, "files: invalid type: integer `3`"),
    (r#"{"files":[3]}"#, "files[0]: invalid type: integer `3`, expected a JSON object"),
    (r#"{"files":[{"path":3}]}"#, "files[0].path: invalid type: integer `3`"),
    (r#"{"files":[{"path":"a","path":"b"}]}"#, "files[0]: duplicate field `path`"),
    (r#"{"files":[{"path":"a"}]}"#, "files[0]: missing field `content`"),
    (
        r#"{"files":[{"path":"a","content":"","encoding":"hex"}]}"#,
        "files[0].encoding: unknown encoding \"hex\"",
    ),
    (r#"{"timeout_ms":"x"}"#, "timeout_ms: invalid type: string \"x\""),
    (r#"{"timeout_ms":-1}"#, "timeout_ms: invalid value: integer `-1`"),
    (r#"{"timeout_ms":1.5}"#, "timeout_ms: invalid type: floating point `1.5`"),
    (r#"{"timeout_ms":18446744073709551616}"#, "timeout_ms: invalid type: floating point"),
    (r#"{"timeout_ms":1e999}"#, "the body is not valid JSON: number out of range"),
    (r#"{"env_vars":{"A":[1]}}"#, "env_vars.A: invalid type: sequence"),
    (r#"{"env_vars":3}"#, "env_vars: invalid type: integer `3`"),
    (r#"{"mode":{}}"#, "mode: invalid type: map"),
    (r#"{"install_deps":"yes"}"#, "install_deps: invalid type: string \"yes\""),
];

/// The same for the route that takes files.
const WRONG_FILES: &[(&str, &str)] = &[
    ("", "the request has no body"),
    ("[", "the body is not valid JSON: "),
    ("[] x", "the body is not valid JSON: trailing characters"),
    ("{}", "the body: invalid type: map"),
    ("null", "the body: invalid type: null"),
    ("3", "the body: invalid type: integer `3`"),
    ("\"\"", "the body: invalid type: string \"\""),
    ("[3]", "the body[0]: invalid type: integer `3`, expected a JSON object"),
    (r#"[["a","b",null,null,null]]"#, "the body[0]: invalid type: sequence, expected a JSON object"),
    (r#"[{"path":"a","content":""},{"path":3}]"#, "the body[1].path: invalid type: integer `3`"),
    (r#"[{"path":"a"}]"#, "the body[0]: missing field `content`"),
    (r#"[{"path":"a","content":"","is_executable":1}]"#, "the body[0].is_executable: invalid type"),
];

#[test]
fn the_text_of_each_refusal_names_the_field_or_the_body() {
    let server = Server::start();
    let id = server.create(&program(&json!({})));
    let files = format!("/sandbox/{id}/files");
    let deep = format!("{{\"more\":{}", "[".repeat(200_000));
    let cases = ["/sandbox", "/execute"]
        .into_iter()
        .flat_map(|path| WRONG_PROGRAMS.iter().map(move |(body, begin)| (path, body.as_bytes(), *begin)))
        .chain(WRONG_FILES.iter().map(|(body, begin)| (files.as_str(), body.as_bytes(), *begin)))
        .chain([("/execute", deep.as_bytes(), "the body is not valid JSON: ")])
        .chain([("/execute", b"{\"code\":\"\xff\"}".as_slice(), "the body is not valid JSON: ")]);
    for (path, body, begin) in cases {
        let error = server.post_bytes(path, body).error(400);
        assert!(
            error.starts_with(begin),
            "{path} {}: {error}",
            String::from_utf8_lossy(&body[..body.len().min(99)])
        );
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let body = Some((kind, b"{\"runtime\":\"bash\",\"code\":\"echo hi\"}".as_slice()));
        let error = server.send_bytes("POST", "/execute", body).unwrap().into_text().error(400);
        assert!(error.starts_with("Content-Type: "), "{kind:?}: {error}");
    }
    let word = "x".repeat(1 << 20);
    for fields in
        [json!({"runtime": word}), json!({"timeout_ms": word}), json!({"env_vars": {(word.as_str()): null}})]
    {
        let error = server.post("/sandbox", &program(&fields)).error(400);
        assert!(error.len() < 4096, "an answer does not repeat a megabyte: {} bytes", error.len());
    }
    assert_eq!(server.get("/sandboxes").ok().as_array().unwrap().len(), 1, "none of them made a sandbox");
}

#[test]
fn wrong_types_are_refused_with_the_name_of_the_field() {
    let server = Server::start();
    let cases = [
        (json!({"runtime": 1}), "runtime"),
        (json!({"code": 5}), "code"),
        (json!({"code": null}), "code"),
        (json!({"timeout_ms": "30000"}), "timeout_ms"),
        (json!({"timeout_ms": -1}), "timeout_ms"),
        (json!({"timeout_ms": 1.5}), "timeout_ms"),
        (json!({"memory_limit_mb": "256"}), "memory_limit_mb"),
        (json!({"env_vars": ["A=B"]}), "env_vars"),
        (json!({"env_vars": {"A": null}}), "env_vars.A"),
        (json!({"files": {"a": "b"}}), "files"),
        (json!({"files": [{"path": "a"}]}), "files[0]"),
        (json!({"files": [{"path": 1, "content": ""}]}), "files[0].path"),
        (json!({"mode": "forever"}), "mode"),
        (json!({"install_deps": "yes"}), "install_deps"),
        (json!({"dev_server": 1}), "dev_server"),
        (json!({"entry_point": 1}), "entry_point"),
    ];
    for (fields, field) in cases {
        refused(&server, &fields, field);
    }
    for (body, field) in [(json!({"code": "1"}), "runtime"), (json!({"runtime": "node"}), "code")] {
        assert!(server.post("/sandbox", &body).error(400).contains(field));
    }
}

#[test]
fn an_unknown_runtime_is_refused_with_those_that_are_known() {
    let server = Server::start();
    for runtime in ["ruby", "Node", "", " node", "node\u{0}", "../node"] {
        refused(&server, &json!({"runtime": runtime}), "runtime");
    }
    let error = server.post("/sandbox", &program(&json!({"runtime": "ruby"}))).error(400);
    for known in ["node", "bun", "typescript", "python", "bash"] {
        assert!(error.contains(known), "{error}");
    }
}

#[test]
fn an_empty_code_is_refused() {
    refused(&Server::start(), &json!({"code": ""}), "code");
}

#[test]
fn a_timeout_of_zero_or_above_the_maximum_is_refused() {
    let server = Server::start_with(&["--timeout-max", "10s"]);
    for timeout_ms in [0, 10_001, u64::MAX] {
        refused(&server, &json!({"timeout_ms": timeout_ms}), "timeout_ms");
    }
    assert!(server.execute(&program(&json!({"timeout_ms": 10_000}))).success);
}

#[test]
fn memory_below_sixteen_megabytes_or_above_the_maximum_is_refused() {
    let server = Server::start_with(&["--memory-max", "512M"]);
    for memory_limit_mb in [0, 15, 513, u64::MAX, 1 << 44] {
        refused(&server, &json!({"memory_limit_mb": memory_limit_mb}), "memory_limit_mb");
    }
    let smallest = json!({"runtime": "bash", "code": "echo fits", "memory_limit_mb": 16});
    assert_eq!(server.execute(&smallest).output(), "fits\n");
    assert!(server.execute(&program(&json!({"memory_limit_mb": 512}))).success);
}

#[test]
fn a_file_path_outside_the_sandbox_or_with_nul_is_refused() {
    let server = Server::start();
    let id = server.create(&program(&json!({})));
    let paths = [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/b/../../../x",
        "/sandbox/../etc/passwd",
        "/sandboxes/x",
        "",
        ".",
        "..",
        "/",
        "/sandbox",
        "a/",
        "a\u{0}b",
    ];
    for path in paths {
        let files = json!([{"path": "fine", "content": ""}, {"path": path, "content": "x"}]);
        let error = server.post(&format!("/sandbox/{id}/files"), &files).error(400);
        assert!(error.starts_with("files[1].path: "), "{path:?}: {error}");
        for route in ["/sandbox", "/execute"] {
            let error = server.post(route, &program(&json!({"files": files}))).error(400);
            assert!(error.starts_with("files[1].path: "), "{route} {path:?}: {error}");
        }
    }
    // Nothing of a refused list is written, not even what was right in it.
    let listed = json!({"runtime": "bash", "code": "ls -A /sandbox"});
    assert_eq!(server.execute(&listed).output(), "main.sh\n");
    let long = json!({"files": [{"path": "a".repeat(5000), "content": ""}]});
    assert_eq!(server.post("/execute", &program(&long)).status, 400);
}

#[test]
fn environment_variables_that_cannot_exist_are_refused() {
    let server = Server::start();
    for name in ["", "A=B", "A\u{0}"] {
        let error = server.post("/sandbox", &program(&json!({"env_vars": {name: "x"}}))).error(400);
        assert!(error.starts_with("env_vars"), "{name:?}: {error}");
    }
    let error = server.post("/sandbox", &program(&json!({"env_vars": {"A": "x\u{0}"}}))).error(400);
    assert!(error.starts_with("env_vars"), "{error}");
    refused(&server, &json!({"entry_point": "a\u{0}.js"}), "entry_point");
    // Larger than what execve(2) takes: an answer that says so, and no server that fell over it.
    let answer = server.post("/execute", &program(&json!({"env_vars": {"A": "x".repeat(3 << 20)}})));
    assert!([200, 400].contains(&answer.status), "{} {}", answer.status, answer.text);
    assert!(!answer.text.contains("\"success\":true"), "{}", answer.text);
    assert!(server.execute(&program(&json!({}))).success);
}

#[test]
fn a_body_over_the_limit_is_answered_with_413() {
    let server = Server::start();
    let over = vec![b' '; (64 << 20) + 1];
    for path in ["/sandbox", "/execute", &format!("/sandbox/{UNKNOWN_ID}/files")] {
        let error = server.post_bytes(path, &over).error(413);
        assert!(error.contains("67108864"), "{error}");
    }
    let small = Server::start_with(&["--body-max", "1M"]);
    let code = |length: usize| json!({"runtime": "bash", "code": format!("#{}", "x".repeat(length))});
    assert!(small.post("/execute", &code(1 << 20)).error(413).contains("1048576"));
    assert!(small.execute(&code(1000 << 10)).success);
}

#[test]
fn an_unknown_id_is_not_found_on_every_route() {
    let server = Server::start();
    for id in [UNKNOWN_ID, "nonsense", "..%2f..%2fetc%2fpasswd", "%00", &"a".repeat(2000)] {
        let answers = [
            server.get(&format!("/sandbox/{id}")),
            server.post_empty(&format!("/sandbox/{id}/execute")),
            server.post(&format!("/sandbox/{id}/files"), &json!([{"path": "a", "content": ""}])),
            server.delete(&format!("/sandbox/{id}")),
            server.get(&format!("/admin/api/sandboxes/{id}/logs")),
        ];
        for answer in answers {
            assert!(answer.error(404).contains("not found"), "{id}: {}", answer.text);
        }
    }
    assert!(!server.get("/no/such/route").error(404).is_empty());
    assert!(!server.send("PUT", "/sandboxes", Some(b"{}")).unwrap().error(405).is_empty());
}

#[test]
fn too_many_sandboxes_are_answered_with_429_and_a_time_to_wait() {
    let server = Server::start_with(&["--sandboxes-max", "2"]);
    let first = server.create(&program(&json!({})));
    let _second = server.create(&program(&json!({})));
    let answer = server.post("/sandbox", &program(&json!({})));
    assert!(!answer.error(429).is_empty());
    let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!(seconds >= 1);
    // The two that exist are as good as before, and the place of a deleted one is free at once.
    assert!(server.run(&first).success);
    server.remove(&first);
    assert_ne!(server.create(&program(&json!({}))), first);
}

#[test]
fn a_file_cannot_be_a_folder_of_another() {
    let server = Server::start();
    let file = |path: &str| json!({"path": path, "content": "x"});
    refused(&server, &json!({"files": [file("q"), file("q/r")]}), "files");
    refused(&server, &json!({"files": [file("a/b/c"), file("a")]}), "files");
    refused(&server, &json!({"files": [file("index.js/x")]}), "files");
    let id = server.create(&program(&json!({"files": [file("q")]})));
    let files = format!("/sandbox/{id}/files");
    assert!(server.post(&files, &json!([file("q/r")])).error(400).starts_with("files: "));
    let _ = server.post(&files, &json!([file("p/r")])).ok();
    assert!(server.run(&id).success, "the sandbox is as usable as before");
}
