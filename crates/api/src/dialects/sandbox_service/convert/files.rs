//! Files: where they may go, and what is in them.
//!
//! Of two files of one path the last counts, as if they were written one after the other.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::program::{ProgramFile, WORK_FOLDER};
use protocol::{GuestPath, InvalidGuestPath};

use super::super::types::{EncodingWord, FileBody};
use crate::reject::Rejection;

/// The files, checked, in the order of their paths.
pub(in super::super) fn program_files(files: Vec<FileBody>) -> Result<Vec<ProgramFile>, Rejection> {
    let mut by_path = BTreeMap::new();
    for (index, file) in files.into_iter().enumerate() {
        let path =
            path(&file.path).map_err(|problem| Rejection::field(format!("files[{index}].path"), problem))?;
        let executable = file.is_executable.or(file.executable).unwrap_or(false);
        let content = match file.encoding.unwrap_or(EncodingWord::Utf8) {
            EncodingWord::Utf8 => file.content.into_bytes(),
            EncodingWord::Base64 => STANDARD.decode(&file.content).map_err(|problem| {
                Rejection::field(format!("files[{index}].content"), format!("not base64: {problem}"))
            })?,
        };
        by_path.insert(path.clone(), ProgramFile { path, content, executable });
    }
    Ok(by_path.into_values().collect())
}

fn path(text: &str) -> Result<GuestPath, String> {
    if text.ends_with('/') {
        return Err("the path ends in `/`, so it names a folder".to_owned());
    }
    GuestPath::absolute(WORK_FOLDER)
        .and_then(|folder| folder.join_below(text))
        .map_err(|problem: InvalidGuestPath| problem.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted(files: Value) -> Result<Vec<(String, Vec<u8>, bool)>, String> {
        let files: Vec<FileBody> = serde_json::from_value(files).map_err(|error| error.to_string())?;
        let files = program_files(files).map_err(|rejection| rejection.to_string())?;
        Ok(files.into_iter().map(|file| (file.path.to_string(), file.content, file.executable)).collect())
    }

    #[test]
    fn files_go_below_the_work_folder() {
        let files = json!([
            {"path": "run.sh", "content": "x", "is_executable": true},
            {"path": "/sandbox/a/b.js", "content": "é", "executable": true},
            {"path": "./c//d", "content": "", "is_executable": null},
        ]);
        let expected = vec![
            ("/sandbox/a/b.js".to_owned(), "é".as_bytes().to_vec(), true),
            ("/sandbox/c/d".to_owned(), vec![], false),
            ("/sandbox/run.sh".to_owned(), b"x".to_vec(), true),
        ];
        assert_eq!(converted(files).unwrap(), expected);
        assert_eq!(converted(json!([])).unwrap(), vec![]);
    }

    #[test]
    fn a_path_outside_is_refused_by_its_number() {
        let paths =
            ["/etc/passwd", "../x", "a/../../x", "", ".", "/sandbox", "/sandboxes/x", "a\0b", "a/", "/"];
        for path in paths {
            let files = json!([{"path": "fine", "content": ""}, {"path": path, "content": ""}]);
            assert!(converted(files).unwrap_err().starts_with("files[1].path: "), "{path:?}");
        }
    }

    #[test]
    fn of_two_files_of_one_path_the_last_counts() {
        let files = json!([{"path": "a", "content": "1"}, {"path": "b/../a", "content": "2"}]);
        assert_eq!(converted(files).unwrap(), vec![("/sandbox/a".to_owned(), b"2".to_vec(), false)]);
    }

    #[test]
    fn base64_carries_any_bytes() {
        let file = |content: &str| json!([{"path": "a", "content": content, "encoding": "base64"}]);
        assert_eq!(converted(file("AP+A")).unwrap()[0].1, b"\0\xff\x80");
        assert!(converted(file("A?")).unwrap_err().starts_with("files[0].content: not base64"));
        let unknown = converted(json!([{"path": "a", "content": "", "encoding": "hex"}])).unwrap_err();
        assert_eq!(unknown, r#"unknown encoding "hex"; known are utf8, base64"#);
    }
}
