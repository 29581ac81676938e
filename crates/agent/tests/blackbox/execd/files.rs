//! Files and directories are looked at, changed and removed.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
};

use serde_json::{Value, json};

use crate::http::HttpAgent;

/// A path as part of a query.
fn quoted(path: &str) -> String {
    path.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn names(list: &Value, root: &str) -> Vec<String> {
    let path = |info: &Value| {
        info["path"].as_str().unwrap().strip_prefix(root).unwrap().trim_start_matches('/').to_owned()
    };
    list.as_array().unwrap().iter().map(path).collect()
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn info_tells_what_a_file_is() {
    let agent = HttpAgent::start();
    let (file, link) = (agent.path("a b+ü&.txt"), agent.path("link"));
    fs::write(&file, "hello").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("nowhere", &link).unwrap();
    let folder = agent.path("");
    let target =
        format!("/files/info?path={}&path={}&path={}", quoted(&file), quoted(&link), quoted(&folder));
    let infos = agent.get(&target).json();
    let info = &infos[&file];
    assert_eq!(
        (&info["path"], &info["type"], &info["size"], &info["mode"]),
        (&json!(file), &json!("file"), &json!(5), &json!(640))
    );
    assert_eq!((&infos[&link]["type"], &infos[&folder]["type"]), (&json!("symlink"), &json!("directory")));
    for field in ["modified_at", "created_at"] {
        let text = info[field].as_str().unwrap();
        assert!(text.starts_with("20") && text.ends_with('Z') && text.contains('T'), "{text}");
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!((&info["owner"], &info["group"]), (&json!("root"), &json!("root")));
    }
    agent.get("/files/info?path=/no/such").assert_error(404, "FILE_NOT_FOUND", "/no/such");
    agent.get("/files/info").assert_error(400, "MISSING_QUERY", "path");
    agent.get("/files/info?path=a%00b").assert_error(400, "INVALID_QUERY", "NUL");
    agent.get(&format!("/files/info?path={}", "x".repeat(300))).assert_error(
        400,
        "INVALID_QUERY",
        "too long",
    );
}

#[test]
fn files_are_removed_and_directories_not() {
    let agent = HttpAgent::start();
    let (one, two, folder) = (agent.path("one"), agent.path("two"), agent.path("folder"));
    fs::write(&one, "").unwrap();
    fs::write(&two, "").unwrap();
    fs::create_dir(&folder).unwrap();
    let target = format!("/files?path={one}&path={two}&path={}", agent.path("none"));
    assert_eq!(agent.delete(&target).status, 200);
    assert!(!fs::exists(&one).unwrap() && !fs::exists(&two).unwrap());
    agent.delete(&format!("/files?path={folder}")).assert_error(400, "INVALID_REQUEST", "directory");
    assert!(fs::exists(folder).unwrap());
    agent.delete("/files").assert_error(400, "MISSING_QUERY", "path");
}

#[test]
fn files_are_moved_and_nothing_is_replaced() {
    let agent = HttpAgent::start();
    let (from, to, other) = (agent.path("from"), agent.path("to"), agent.path("other"));
    fs::write(&from, "content").unwrap();
    fs::write(&other, "kept").unwrap();
    assert_eq!(agent.post("/files/mv", &json!([{"src": from, "dest": to}])).status, 200);
    assert_eq!(fs::read_to_string(&to).unwrap(), "content");
    agent.post("/files/mv", &json!([{"src": to, "dest": other}])).assert_error(
        400,
        "INVALID_REQUEST",
        "already",
    );
    assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
    agent.post("/files/mv", &json!([{"src": from, "dest": to}])).assert_error(404, "FILE_NOT_FOUND", "move");
    agent.post("/files/mv", &json!([{"src": to, "dest": agent.path("none/x")}])).assert_error(
        404,
        "FILE_NOT_FOUND",
        "move",
    );
    agent.post("/files/mv", &json!({"src": to, "dest": from})).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "sequence",
    );
}

#[test]
fn a_file_is_moved_to_another_file_system() {
    let agent = HttpAgent::start();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(agent.path("")).unwrap().dev() {
        panic!("/dev/shm is on the file system of the temporary folder");
    }
    let from = agent.path("from");
    let to = other.path().join("to").to_str().unwrap().to_owned();
    let content = vec![b'x'; 700_000];
    fs::write(&from, &content).unwrap();
    fs::set_permissions(&from, fs::Permissions::from_mode(0o751)).unwrap();
    let modified = fs::metadata(&from).unwrap().modified().unwrap();
    assert_eq!(agent.post("/files/mv", &json!([{"src": from, "dest": to}])).status, 200);
    assert!(!fs::exists(&from).unwrap() && fs::read(&to).unwrap() == content);
    assert_eq!((mode(&to), fs::metadata(&to).unwrap().modified().unwrap()), (0o751, modified));
    fs::write(&from, "").unwrap();
    agent.post("/files/mv", &json!([{"src": from, "dest": to}])).assert_error(
        400,
        "INVALID_REQUEST",
        "already",
    );
}

#[test]
fn permissions_are_set() {
    let agent = HttpAgent::start();
    let file = agent.path("file");
    fs::write(&file, "").unwrap();
    let set = |permission: Value| agent.post("/files/permissions", &json!({&file: permission}));
    assert_eq!(set(json!({"mode": 4711})).status, 200);
    assert_eq!(mode(&file), 0o4711);
    assert_eq!(set(json!({"mode": 0})).status, 200);
    assert_eq!(mode(&file), 0o4711, "0 leaves it");
    for bad in [json!(789), json!(77777), json!(-1), json!("755")] {
        assert_eq!(set(json!({"mode": bad})).status, 400, "{bad}");
    }
    set(json!({"mode": 600, "owner": "no-such-user"})).assert_error(400, "INVALID_REQUEST", "no-such-user");
    agent.post("/files/permissions", &json!({"/no/such": {"mode": 600}})).assert_error(
        404,
        "FILE_NOT_FOUND",
        "/no/such",
    );
    if rustix::process::geteuid().is_root() {
        assert_eq!(set(json!({"mode": 640, "owner": "nobody", "group": "4321"})).status, 200);
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid(), mode(&file)), (65534, 4321, 0o640));
    }
}

#[test]
fn directories_are_made_and_removed_whole() {
    let agent = HttpAgent::start();
    let (root, deep) = (agent.path("root"), agent.path("root/a/b"));
    assert_eq!(agent.post("/directories", &json!({&deep: {"mode": 750}, &root: {}})).status, 200);
    assert_eq!((mode(&root), mode(&deep)), (0o755, 0o750));
    fs::write(agent.path("root/a/file"), "").unwrap();
    let outside = agent.path("outside");
    fs::write(&outside, "").unwrap();
    symlink(&outside, agent.path("root/link")).unwrap();
    agent.post("/directories", &json!({format!("{outside}/x"): {}})).assert_error(
        400,
        "INVALID_REQUEST",
        "outside",
    );
    agent.delete(&format!("/directories?path={outside}")).assert_error(400, "INVALID_REQUEST", "outside");
    agent.delete(&format!("/directories?path={root}/link")).assert_error(400, "INVALID_REQUEST", "link");
    agent.delete("/directories?path=/").assert_error(400, "INVALID_REQUEST", "root");
    assert_eq!(agent.delete(&format!("/directories?path={root}&path={root}")).status, 200);
    assert!(!fs::exists(&root).unwrap() && fs::exists(&outside).unwrap());
}

#[test]
fn directories_are_listed_in_order_to_a_depth() {
    let agent = HttpAgent::start();
    let root = agent.path("root");
    fs::create_dir_all(format!("{root}/b/c")).unwrap();
    fs::write(format!("{root}/b/c/d"), "").unwrap();
    fs::write(format!("{root}/a"), "").unwrap();
    symlink("b", format!("{root}/z")).unwrap();
    fs::write(std::path::Path::new(&root).join(std::ffi::OsStr::from_bytes(b"y\xff")), "").unwrap();
    let list =
        |query: &str| names(&agent.get(&format!("/directories/list?path={root}{query}")).json(), &root);
    assert_eq!(list(""), ["a", "b", "y\u{fffd}", "z"]);
    assert_eq!(list("&depth=2"), ["a", "b", "b/c", "y\u{fffd}", "z"]);
    assert_eq!(list("&depth=9"), ["a", "b", "b/c", "b/c/d", "y\u{fffd}", "z"]);
    assert_eq!(list("&depth=0"), [""; 0]);
    agent.get(&format!("/directories/list?path={root}/z")).assert_error(
        400,
        "INVALID_REQUEST",
        "not a directory",
    );
    agent.get(&format!("/directories/list?path={root}/none")).assert_error(404, "FILE_NOT_FOUND", "none");
    agent.get(&format!("/directories/list?path={root}&depth=-1")).assert_error(400, "INVALID_QUERY", "depth");
}

#[test]
fn files_are_searched_by_pattern() {
    let agent = HttpAgent::start();
    let root = agent.path("root");
    fs::create_dir_all(format!("{root}/src/deep.py")).unwrap();
    for name in ["a.py", "b.txt", "src/c.py", "src/deep.py/d.rs", ".hidden.py"] {
        fs::write(format!("{root}/{name}"), "").unwrap();
    }
    let search = |pattern: &str| {
        names(&agent.get(&format!("/files/search?path={root}&pattern={}", quoted(pattern))).json(), &root)
    };
    assert_eq!(search("*.py"), [".hidden.py", "a.py", "src/c.py"]);
    assert_eq!(search("**"), [".hidden.py", "a.py", "b.txt", "src/c.py", "src/deep.py/d.rs"]);
    assert_eq!(search(""), search("**"));
    assert_eq!(search("[ab].*"), ["a.py", "b.txt"]);
    assert_eq!(search("src/*.py"), ["src/c.py"]);
    assert_eq!(search("nothing"), [""; 0]);
    agent.get(&format!("/files/search?path={root}&pattern=%5Ba")).assert_error(
        400,
        "INVALID_QUERY",
        "pattern",
    );
    agent.get(&format!("/files/search?path={root}/none")).assert_error(404, "FILE_NOT_FOUND", "none");
    agent.get("/files/search?pattern=*").assert_error(400, "MISSING_QUERY", "path");
}

#[test]
fn a_tree_of_many_files_is_listed_whole() {
    let agent = HttpAgent::start();
    let root = agent.path("root");
    agent.command(&json!({"command": format!("mkdir -p {root} && cd {root} && seq -w 5000 | xargs touch")}));
    let list = agent.get(&format!("/files/search?path={root}")).json();
    let expected: Vec<String> = (1..=5000).map(|number| format!("{number:04}")).collect();
    assert_eq!(names(&list, &root), expected);
}

#[test]
fn text_is_replaced_in_files() {
    let agent = HttpAgent::start();
    let (one, two) = (agent.path("one"), agent.path("two"));
    fs::write(&one, b"old \xff old\nolold").unwrap();
    fs::set_permissions(&one, fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(&two, "nothing").unwrap();
    let inode = fs::metadata(&two).unwrap().ino();
    let request = json!({&one: {"old": "old", "new": "newer"}, &two: {"old": "x", "new": "y"}});
    let answer = agent.post("/files/replace?verbose=true", &request).json();
    assert_eq!(answer, json!({&one: {"replacedCount": 3}, &two: {"replacedCount": 0}}));
    assert_eq!(fs::read(&one).unwrap(), b"newer \xff newer\nolnewer");
    assert_eq!((mode(&one), fs::metadata(&two).unwrap().ino()), (0o751, inode));
    let answer = agent.post("/files/replace", &json!({&one: {"old": "newer", "new": ""}}));
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
    assert_eq!(fs::read(&one).unwrap(), b" \xff \nol");
    agent.post("/files/replace", &json!({&one: {"old": "", "new": "x"}})).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "empty",
    );
    agent.post("/files/replace", &json!({&one: {"old": "x"}})).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "new",
    );
    agent.post("/files/replace", &json!({"/no/such": {"old": "x", "new": ""}})).assert_error(
        404,
        "FILE_NOT_FOUND",
        "/no/such",
    );
    agent.post("/files/replace?verbose=maybe", &json!({})).assert_error(400, "INVALID_QUERY", "verbose");
}

#[test]
fn a_large_file_is_replaced_in_without_much_memory() {
    let agent = HttpAgent::start();
    let file = agent.path("file");
    fs::write(&file, "needle and hay\n".repeat(4_000_000)).unwrap();
    let before = agent.agent.rss_bytes();
    let answer =
        agent.post("/files/replace?verbose=true", &json!({&file: {"old": "needle", "new": "straw"}}));
    assert_eq!(answer.json()[&file]["replacedCount"], 4_000_000);
    assert!(agent.agent.rss_bytes() < before + (16 << 20));
    assert!(fs::read_to_string(&file).unwrap() == "straw and hay\n".repeat(4_000_000));
}
