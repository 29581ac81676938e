//! Who gets in.

use std::fs;

use blackbox::{Key, Server};
use serde_json::{Value, json};

/// What answers without a key. Whoever adds an operation here says why.
const OPEN: [(&str, &str); 5] = [
    ("GET", "/health"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/health"),
    ("GET", "/v1/version"),
    ("GET", "/version"),
];

const NO_KEY: &str = "ws_000000000000000000000000000000000000000000000000";

fn operations(document: &Value) -> Vec<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[test]
fn no_operation_but_a_few_answers_without_a_key() {
    let server = Server::start();
    let admin = server.key_create(&["--admin"]);
    let document = server.get("/openapi.json").ok();
    let id = "6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11";
    let mut closed = 0;
    for (method, path) in operations(&document) {
        // The executor's API has texts for errors.
        let is_executor = ["/koyeb-sandbox/", "/r/", "/v1/sandboxes/{sandbox_id}/executor/"]
            .iter()
            .any(|prefix| path.starts_with(prefix));
        let parts = [
            "id",
            "name",
            "snapshot",
            "sandbox_id",
            "session_id",
            "snapshot_id",
            "pool_name",
            "template_id",
            "path",
        ];
        let path = path.replace("{port}", "8000");
        let path = parts.iter().fold(path, |path, part| path.replace(&format!("{{{part}}}"), id));
        let ask = |client: &blackbox::Client| client.send(&method, &path, None).unwrap();
        if OPEN.contains(&(method.as_str(), path.as_str())) {
            assert_eq!(ask(&server).status, 200, "{method} {path}");
            continue;
        }
        closed += 1;
        let answer = ask(&server);
        assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text);
        if method != "HEAD" && is_executor {
            assert_eq!(answer.text, "Unauthorized", "{method} {path}");
        } else if method != "HEAD" {
            let body = answer.json();
            let said = body.get("error").or(body.get("message"));
            assert_eq!(said, Some(&"API key required (x-api-key header)".into()), "{method} {path}");
        }
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{method} {path}");
        let wrong = ask(&server.with_header("x-api-key", NO_KEY));
        // 429 after so many of them.
        assert!([401, 403, 429].contains(&wrong.status), "{method} {path}: {}", wrong.status);
        let right = ask(&server.with_key(&admin)).status;
        assert!(![401, 403, 429].contains(&right), "{method} {path}: {right}");
    }
    assert!(closed >= 19, "{closed}");
}

#[test]
fn a_key_comes_in_any_header_and_two_keys_that_differ_do_not() {
    let server = Server::start();
    let key = server.key_create(&[]).text;
    let other = server.key_create(&[]).text;
    let status = |headers: &[(&str, &str)]| {
        let client = headers.iter().fold((*server).clone(), |it, (name, value)| it.with_header(name, value));
        client.get("/sandboxes").status
    };
    let bearer = format!("Bearer {key}");
    assert_eq!(status(&[("x-api-key", &key)]), 200);
    assert_eq!(status(&[("OPEN-SANDBOX-API-KEY", &key)]), 200);
    assert_eq!(status(&[("authorization", &bearer)]), 200);
    assert_eq!(status(&[("authorization", &bearer), ("x-api-key", &key)]), 200);
    assert_eq!(status(&[("authorization", &bearer), ("x-api-key", &other)]), 400);
    assert_eq!(status(&[("x-api-key", &key.to_uppercase())]), 401);
    assert_eq!(status(&[("x-api-key", &key[..50])]), 401);
    assert_eq!(status(&[("x-api-key", &format!("{key}0"))]), 401);
    assert_eq!(status(&[("authorization", &format!("Basic {key}"))]), 401);
}

#[test]
fn a_revoked_key_ends_at_once_and_the_last_one_leaves_the_door_closed() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    let id = client.create(&json!({"runtime": "bash", "code": "echo ran"}));
    let revoked = blackbox::keys_command(server.data(), "revoke").arg(key.id.to_string()).output().unwrap();
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(client.get("/sandboxes").error(401), "Invalid API key");
    let _ = client.post_empty(&format!("/sandbox/{id}/execute")).error(401);
    let _ = server.get("/sandboxes").error(401);
}

#[test]
fn keys_survive_a_restart_and_only_their_hash_is_on_disk() {
    let mut server = Server::start();
    let (user, admin) = (server.key_create(&["--name", "build"]), server.key_create(&["--admin"]));
    let made = server.with_key(&admin).post("/api-keys", &json!({"name": "api"}));
    assert_eq!(made.status, 201, "{}", made.text);
    let third = made.json()["key"].as_str().unwrap().to_owned();
    let id = server.with_key(&user).create(&json!({"runtime": "bash", "code": "echo ran"}));
    let check = |server: &Server| {
        let mut bytes = server.log().into_bytes();
        for entry in fs::read_dir(server.data().join("server")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                bytes.extend(fs::read(path).unwrap());
            }
        }
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("build") && holds(&user.text[..9]), "this is where keys are kept");
        for text in [&user.text, &admin.text, &third] {
            assert!(!holds(&text[3..]) && !holds(&text[9..30]), "a key is on the disk");
        }
    };
    check(&server);
    server.kill();
    server.start_again();
    check(&server);
    assert_eq!(server.with_key(&user).run(&id).output(), "ran\n");
    assert_eq!(server.with_header("x-api-key", &third).get("/sandboxes").ok(), json!([]));
    let _ = server.get("/sandboxes").error(401);
}

#[test]
fn wrong_keys_are_limited_and_the_right_one_passes_all_the_same() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let wrong = server.with_header("x-api-key", NO_KEY);
    let limited = (0..100).map(|_| wrong.get("/sandboxes")).find(|answer| answer.status != 401);
    let limited = limited.expect("an address has had enough at some point");
    assert!(limited.error(429).contains("wrong API keys"), "{}", limited.text);
    let seconds: u32 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert_eq!(server.with_key(&key).get("/sandboxes").status, 200);
    assert_eq!(server.get("/sandboxes").status, 401, "no key is not a wrong one");
}

#[test]
fn with_a_key_the_server_listens_beyond_loopback_and_asks_everybody_for_it() {
    let mut server = Server::start();
    let key: Key = server.key_create(&["--admin"]);
    assert!(server.stop().success());
    // The listener counts, not the address that a client happens to reach it by.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let beyond = format!("0.0.0.0:{port}");
    server.options_set(&["--listen", &beyond, "--hosts-allowed", "127.0.0.1"]);
    server.start_again();
    let client = blackbox::Client::new(format!("127.0.0.1:{port}").parse().unwrap());
    assert_eq!(client.get("/health").status, 200);
    let _ = client.get("/sandboxes").error(401);
    let _ = client.post("/api-keys", &json!({})).error(401);
    assert_eq!(client.with_key(&key).get("/sandboxes").ok(), json!([]));
}

#[test]
fn keys_that_were_all_revoked_do_not_let_the_server_beyond_loopback() {
    let mut server = Server::start();
    let key = server.key_create(&["--admin"]);
    let revoked = blackbox::keys_command(server.data(), "revoke").arg(key.id.to_string()).status().unwrap();
    assert!(revoked.success() && server.stop().success());
    let output = std::process::Command::new(blackbox::atoll())
        .args([
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--storage-size",
            "8G",
            "--no-toolchain-install",
            "--data-dir",
        ])
        .arg(server.data())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("atoll keys create"), "{text}");
    server.start_again();
}
