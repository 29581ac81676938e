//! Names that are unusual, and those that are no text.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use serde_json::json;

use super::Executor;

#[test]
fn unusual_names_survive_a_round_trip() {
    let executor = Executor::start();
    let long = "ä".repeat(127) + "x";
    assert_eq!(long.len(), 255);
    let names =
        ["new\nline", "\"quoted\" 'twice' \\", "😀 emoji", "-rf", " ", "\u{1}\u{7f}", "*?[a]$(x)`y`", &long];
    executor.ask("/make_dir", &json!({"path": "d"}));
    for name in names {
        let (file, folder) = (format!("d/{name}"), format!("e/{name}/{name}"));
        assert_eq!(
            executor.ask("/write_file", &json!({"path": file, "content": name})),
            json!({"success": true})
        );
        assert_eq!(fs::read_to_string(executor.agent.path(&file)).unwrap(), name);
        assert_eq!(executor.ask("/read_file", &json!({"path": file})), json!({"content": name}));
        assert_eq!(executor.ask("/make_dir", &json!({"path": folder})), json!({"success": true}));
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    for folder in ["d", "e"] {
        assert_eq!(executor.ask("/list_dir", &json!({"path": folder})), json!({"entries": sorted}));
    }
    for name in names {
        assert_eq!(
            executor.ask("/delete_file", &json!({"path": format!("d/{name}")})),
            json!({"success": true})
        );
        assert_eq!(
            executor.ask("/delete_dir", &json!({"path": format!("e/{name}")})),
            json!({"success": true})
        );
    }
    assert_eq!(executor.ask("/list_dir", &json!({"path": "e"})), json!({"entries": []}));
    let path = format!("d/{long}y");
    for endpoint in ["/write_file", "/make_dir"] {
        let error = executor.ask(endpoint, &json!({"path": path, "content": ""}))["error"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(error.ends_with(": file name too long"), "{error}");
    }
}

#[test]
fn names_that_are_no_text_are_listed_and_refused_clearly() {
    let executor = Executor::start();
    fs::write(executor.agent.path("").join(OsStr::from_bytes(b"a\xffb")), "").unwrap();
    assert_eq!(
        executor.ask("/list_dir", &json!({"path": executor.path("")})),
        json!({"entries": ["a\u{fffd}b"]})
    );
    let error =
        executor.ask("/read_file", &json!({"path": "a\u{fffd}b"}))["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("open a\u{fffd}b: no such file or directory (a name that is no UTF-8"),
        "{error}"
    );
}
