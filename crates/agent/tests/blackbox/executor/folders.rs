//! Directories.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use super::Executor;

#[test]
fn a_directory_is_made_with_those_above() {
    let executor = Executor::start();
    let make = |path: &str| executor.ask("/make_dir", &json!({"path": path}));
    for _ in 0..2 {
        assert_eq!(make(&executor.path("a/b/c")), json!({"success": true}));
    }
    for path in ["a", "a/b", "a/b/c"] {
        assert_eq!(fs::metadata(executor.agent.path(path)).unwrap().permissions().mode() & 0o7777, 0o755);
    }
    fs::write(executor.agent.path("file"), "").unwrap();
    for path in ["file", "file/below"] {
        let error = format!("mkdir {path}: not a directory");
        assert_eq!(make(path), json!({"success": false, "error": error}));
    }
    assert_eq!(make(""), json!({"success": false, "error": "mkdir : no such file or directory"}));
}

#[test]
fn a_directory_lists_its_names_in_order() {
    let executor = Executor::start();
    fs::create_dir_all(executor.agent.path("d/sub/deep")).unwrap();
    for name in ["b", "a", ".hidden", "B"] {
        fs::write(executor.agent.path("d").join(name), "").unwrap();
    }
    let list = |path: &str| executor.ask("/list_dir", &json!({"path": path}));
    assert_eq!(list("d"), json!({"entries": [".hidden", "B", "a", "b", "sub"]}));
    assert_eq!(list("d/sub/deep"), json!({"entries": []}));
    assert_eq!(list("none"), json!({"error": "open none: no such file or directory"}));
    assert_eq!(list("d/a"), json!({"error": "open d/a: not a directory"}));
}

#[test]
fn a_directory_is_deleted_with_all_that_is_below() {
    let executor = Executor::start();
    fs::create_dir_all(executor.agent.path("d/sub")).unwrap();
    fs::write(executor.agent.path("d/sub/file"), "").unwrap();
    fs::create_dir(executor.agent.path("other")).unwrap();
    fs::write(executor.agent.path("other/file"), "").unwrap();
    std::os::unix::fs::symlink("../other", executor.agent.path("d/link")).unwrap();
    let delete = |path: &str| executor.ask("/delete_dir", &json!({"path": path}));
    for path in ["d", "d", "none/below", "other/file"] {
        assert_eq!(delete(path), json!({"success": true}), "{path}");
    }
    assert!(!fs::exists(executor.agent.path("d")).unwrap());
    assert!(fs::exists(executor.agent.path("other")).unwrap(), "links are not followed");
    fs::write(executor.agent.path("file"), "").unwrap();
    assert_eq!(
        delete("file/below"),
        json!({"success": false, "error": "remove file/below: not a directory"})
    );
    assert_eq!(delete(""), json!({"success": false, "error": "remove : no such file or directory"}));
}
