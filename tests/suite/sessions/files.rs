//! Files of the workspace.

use blackbox::Server;
use serde_json::{Value, json};

use super::{encoded, output, read, session_create, write};

fn remove(server: &Server, session: &str, path: &str) -> blackbox::Answer {
    server.delete(&format!("/api/files/{session}/content?path={}", encoded(path)))
}

#[test]
fn files_are_written_read_listed_and_deleted() {
    let server = Server::start();
    let id = session_create(&server);
    assert_eq!(server.get(&format!("/api/files/{id}/tree")).ok(), json!([]));
    write(&server, &id, "src/main.py", "print('Hello World')");
    write(&server, &id, "Z.txt", "");
    write(&server, &id, ".env", "A=1");
    assert_eq!(read(&server, &id, "src/main.py").ok(), json!({"content": "print('Hello World')"}));
    assert_eq!(read(&server, &id, "Z.txt").ok(), json!({"content": ""}));
    let tree = server.get(&format!("/api/files/{id}/tree")).ok();
    assert_eq!(
        tree,
        json!([
            {"id": "src", "name": "src", "path": "src", "type": "directory", "children": [
                {"id": "src/main.py", "name": "main.py", "path": "src/main.py", "type": "file", "size": 20,
                 "mimeType": "text/x-python"},
            ]},
            {"id": ".env", "name": ".env", "path": ".env", "type": "file", "size": 3,
             "mimeType": "application/octet-stream"},
            {"id": "Z.txt", "name": "Z.txt", "path": "Z.txt", "type": "file", "size": 0,
             "mimeType": "text/plain"},
        ])
    );
    assert_eq!(output(&server, &id, "pwd; python3 src/main.py"), "/sandbox\nHello World\n");
    write(&server, &id, "src/main.py", "other");
    assert_eq!(read(&server, &id, "src/main.py").ok()["content"], "other");
    for path in ["src", "Z.txt"] {
        assert_eq!(remove(&server, &id, path).ok(), json!({"success": true}));
        assert_eq!(remove(&server, &id, path).error(404), "File not found");
    }
    assert_eq!(read(&server, &id, "src/main.py").error(404), "File not found");
    assert_eq!(output(&server, &id, "ls -A"), ".env\n");
}

#[test]
fn names_come_back_as_they_were() {
    let server = Server::start();
    let id = session_create(&server);
    let long = "n".repeat(255);
    let names = ["new\nline", "quo\"te's", "emo😀ji ü", "back\\slash", " ", "a b&c=d#e?f%20", long.as_str()];
    for name in names {
        write(&server, &id, &format!("d/{name}"), name);
        assert_eq!(read(&server, &id, &format!("d/{name}")).ok()["content"], name);
    }
    let tree = server.get(&format!("/api/files/{id}/tree")).ok();
    let listed: Vec<&str> =
        tree[0]["children"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap()).collect();
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    let too_long = json!({"path": "n".repeat(256), "content": ""});
    assert!(!server.post(&format!("/api/files/{id}/content"), &too_long).error(400).is_empty());
}

#[test]
fn names_that_are_no_text_are_left_out_and_counted() {
    let server = Server::start();
    let id = session_create(&server);
    let _ =
        output(&server, &id, r"mkdir $(printf 'd\377'); touch $(printf 'd\377')/f plain $(printf 'x\376')");
    let answer = server.get(&format!("/api/files/{id}/tree"));
    assert_eq!(answer.header("x-entries-omitted"), Some("3"));
    let tree = answer.ok();
    assert_eq!((tree.as_array().unwrap().len(), &tree[0]["name"]), (1, &json!("plain")), "{tree}");
}

#[test]
fn bytes_that_are_no_text_come_in_base64_and_can_be_written_so() {
    let server = Server::start();
    let id = session_create(&server);
    let _ = output(&server, &id, r"printf 'a\377\000b' > bytes");
    let content = read(&server, &id, "bytes").ok();
    assert_eq!(content, json!({"content": "Yf8AYg==", "encoding": "base64"}));
    let body = json!({"path": "copy", "content": content["content"], "encoding": "base64"});
    let _ = server.post(&format!("/api/files/{id}/content"), &body).ok();
    assert_eq!(output(&server, &id, "cmp bytes copy && echo same"), "same\n");
    let wrong = json!({"path": "copy", "content": "%", "encoding": "base64"});
    assert!(server.post(&format!("/api/files/{id}/content"), &wrong).error(400).starts_with("content: "));
}

#[test]
fn folders_are_no_files_and_files_no_folders() {
    let server = Server::start();
    let id = session_create(&server);
    write(&server, &id, "folder/file", "x");
    assert_eq!(read(&server, &id, "folder").error(400), "Path is a directory");
    let onto = |path: &str| {
        let body = json!({"path": path, "content": "y"});
        server.post(&format!("/api/files/{id}/content"), &body).error(400)
    };
    assert_eq!(onto("folder"), "Path is a directory");
    assert!(!onto("folder/file/below").is_empty());
    assert_eq!(read(&server, &id, "folder/file").ok()["content"], "x");
    let _ = output(&server, &id, "mkfifo pipe");
    assert!(!read(&server, &id, "pipe").error(400).is_empty(), "it does not wait for a writer");
}

#[test]
fn nothing_leaves_the_workspace() {
    let server = Server::start();
    let id = session_create(&server);
    let _ = output(
        &server,
        &id,
        "mkdir /tmp/out; echo secret > /tmp/out/f; ln -s /tmp/out out; ln -s /tmp/out/f link; ln -s ../tmp/out/f up",
    );
    for path in ["../tmp/out/f", "/tmp/out/f", "out/f", "link", "up", "a/../../tmp/out/f", "/etc/passwd"] {
        let got = read(&server, &id, path);
        assert!(matches!(got.status, 400 | 404), "{path}: {} {}", got.status, got.text);
        let body = json!({"path": path, "content": "changed"});
        let written = server.post(&format!("/api/files/{id}/content"), &body);
        if written.status == 200 {
            // A link itself may be replaced; what it leads to is as it was.
            assert!(["link", "up"].contains(&path), "{path}");
        }
        let _ = remove(&server, &id, path);
        assert_eq!(output(&server, &id, "cat /tmp/out/f"), "secret\n", "{path}");
    }
    for path in ["", ".", "/", ".."] {
        let answer = remove(&server, &id, path);
        assert!(matches!(answer.status, 400 | 404), "{path:?}: {}", answer.text);
    }
    let tree: Value = server.get(&format!("/api/files/{id}/tree")).ok();
    assert!(!tree.to_string().contains("secret") && !tree.to_string().contains("out/f"), "{tree}");
}
