//! Files: what is written is read, and what fails says why, in an answer of status 200.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::Executor;

fn failed(path: &str, reason: &str) -> Value {
    json!({"success": false, "error": format!("{path}: {reason}")})
}

#[test]
fn what_is_written_is_read() {
    let executor = Executor::start();
    let path = executor.path("file");
    for content in ["", "text\n", "ä\0\"\\\u{2028}😀\r\n"] {
        assert_eq!(
            executor.ask("/write_file", &json!({"path": path, "content": content})),
            json!({"success": true})
        );
        assert_eq!(executor.ask("/read_file", &json!({"path": path})), json!({"content": content}));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    executor.ask("/write_file", &json!({"path": path, "content": "short"}));
    assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "it keeps its mode");
    executor.ask("/write_file", &json!({"path": "relative", "content": "1"}));
    assert_eq!(fs::read_to_string(executor.agent.path("relative")).unwrap(), "1");
}

#[test]
fn large_files_pass_in_little_memory() {
    let executor = Executor::start();
    let text = "0123456789abcdeä".repeat(6 << 20);
    fs::write(executor.agent.path("large"), &text).unwrap();
    let read = executor.ask("/read_file", &json!({"path": "large"}));
    assert!(read["content"].as_str() == Some(text.as_str()));
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
    let part = &text[..9 << 20];
    assert_eq!(
        executor.ask("/write_file", &json!({"path": "part", "content": part})),
        json!({"success": true})
    );
    assert!(fs::read_to_string(executor.agent.path("part")).unwrap() == part);
    assert!(
        executor.ask("/read_file", &json!({"path": "/proc/self/status"}))["content"]
            .as_str()
            .unwrap()
            .contains("atoll-agent")
    );
}

#[test]
fn what_is_no_text_is_refused_clearly() {
    let executor = Executor::start();
    let mut large = vec![b'x'; 1 << 20];
    large.push(0xE2);
    for (name, content) in [("small", &b"a\xffb"[..]), ("large", &large)] {
        fs::write(executor.agent.path(name), content).unwrap();
        let error = executor.ask("/read_file", &json!({"path": name}));
        assert_eq!(error.as_object().unwrap().len(), 1, "{name}");
        let text = error["error"].as_str().unwrap();
        assert!(text.starts_with(&format!("read {name}: the file is binary")), "{text}");
    }
}

#[test]
fn what_can_not_be_written_or_read_says_why() {
    let executor = Executor::start();
    fs::write(executor.agent.path("file"), "x").unwrap();
    fs::create_dir(executor.agent.path("folder")).unwrap();
    executor.run("mkfifo fifo");
    for (path, reason) in [
        ("none/file", "no such file or directory"),
        ("folder", "is a directory"),
        ("file/below", "not a directory"),
        ("", "no such file or directory"),
        ("a\0b", "invalid argument"),
        ("fifo", "no such device or address"),
    ] {
        let written = executor.ask("/write_file", &json!({"path": path, "content": "x"}));
        assert_eq!(written, failed(&format!("open {path}"), reason));
    }
    for (path, error) in [
        ("none", "open none: no such file or directory"),
        ("folder", "read folder: is a directory"),
        ("file/below", "open file/below: not a directory"),
        ("fifo", "read fifo: not a regular file"),
        ("", "open : no such file or directory"),
        ("/proc/self/mem", "read /proc/self/mem"),
    ] {
        let read = executor.ask("/read_file", &json!({"path": path}));
        assert!(
            read["error"].as_str().unwrap().starts_with(error) && read.get("content").is_none(),
            "{read}"
        );
    }
    assert!(!fs::exists(executor.agent.path("none")).unwrap(), "no parents are made");
}

#[test]
fn a_file_is_deleted_and_an_empty_directory_too() {
    let executor = Executor::start();
    fs::write(executor.agent.path("file"), "x").unwrap();
    fs::create_dir_all(executor.agent.path("full/empty")).unwrap();
    std::os::unix::fs::symlink("full", executor.agent.path("link")).unwrap();
    let delete = |path: &str| executor.ask("/delete_file", &json!({"path": path}));
    assert_eq!(delete("file"), json!({"success": true}));
    assert_eq!(delete("file"), failed("remove file", "no such file or directory"));
    assert_eq!(delete("full"), failed("remove full", "directory not empty"));
    assert_eq!(delete("full/empty"), json!({"success": true}));
    assert_eq!(delete("link"), json!({"success": true}));
    assert!(fs::exists(executor.agent.path("full")).unwrap(), "what the link led to stays");
}
