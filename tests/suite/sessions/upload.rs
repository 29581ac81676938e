//! Uploads, and how large and how many they may be.

use blackbox::{Answer, Server};
use serde_json::json;

use super::{output, read, session_create};

const MB: usize = 1 << 20;

/// A form with these parts: name and content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let file = if *name == "file" { "; filename=\"f\"" } else { "" };
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

fn upload(server: &Server, session: &str, parts: &[(&str, &[u8])]) -> Answer {
    let body = form(parts);
    let kind = "multipart/form-data; boundary=edge";
    let path = format!("/api/files/{session}/upload");
    server.send_bytes("POST", &path, Some((kind, &body))).unwrap().into_text()
}

#[test]
fn any_bytes_are_uploaded_whatever_comes_first() {
    let server = Server::start();
    let id = session_create(&server);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let [path, other] = ["deep/down/a.bin", "b.bin"];
    let file = ("file", bytes.as_slice());
    assert_eq!(upload(&server, &id, &[file, ("path", path.as_bytes())]).ok(), json!({"success": true}));
    assert_eq!(upload(&server, &id, &[("path", other.as_bytes()), ("more", b"x"), file]).status, 200);
    assert_eq!(output(&server, &id, "cmp deep/down/a.bin b.bin && wc -c < b.bin"), "100000\n");
    assert_eq!(upload(&server, &id, &[("file", b""), ("path", b"empty")]).status, 200);
    assert_eq!(read(&server, &id, "empty").ok()["content"], "");
}

#[test]
fn a_form_must_have_both_and_lead_below_the_workspace() {
    let server = Server::start();
    let id = session_create(&server);
    let required = "File and target path are required";
    for parts in [
        vec![],
        vec![("file", b"x".as_slice())],
        vec![("path", b"f".as_slice())],
        vec![("file", b"x".as_slice()), ("path", b"".as_slice())],
    ] {
        assert_eq!(upload(&server, &id, &parts).error(400), required, "{parts:?}");
        assert_eq!(upload(&server, "session_1_none", &parts).error(400), required, "before the session");
    }
    let whole: [(&str, &[u8]); 2] = [("file", b"x"), ("path", b"f")];
    assert_eq!(upload(&server, "session_1_none", &whole).error(404), "Session not found");
    assert!(server.post(&format!("/api/files/{id}/upload"), &json!({})).error(400).starts_with(required));
    let path = format!("/api/files/{id}/upload");
    let cut = server.send_bytes("POST", &path, Some(("multipart/form-data; boundary=edge", b"--edge\r\nx")));
    assert_eq!(cut.unwrap().status, 400);
    for path in [b"../f".as_slice(), b"/tmp/f", b"\xff"] {
        assert_eq!(upload(&server, &id, &[("file", b"x"), ("path", path)]).status, 400);
    }
}

#[test]
fn a_file_has_ten_megabytes_and_a_session_a_hundred_in_an_hour() {
    let server = Server::start();
    let id = session_create(&server);
    let file = vec![7; 10 * MB + 1];
    let larger = upload(&server, &id, &[("file", &file), ("path", b"f")]);
    assert_eq!(larger.error(413), "The file is larger than the maximum of 10 MB");
    let announced = vec![7; 30 * MB];
    assert_eq!(upload(&server, &id, &[("file", &announced), ("path", b"f")]).status, 413);
    for _ in 0..10 {
        assert_eq!(upload(&server, &id, &[("path", b"f"), ("file", &file[1..])]).status, 200);
    }
    let more = upload(&server, &id, &[("path", b"g"), ("file", b"x")]);
    let retry: u64 = more.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&retry), "{retry}");
    assert_eq!(more.error(429), "Too much was uploaded: a session may have 100 MB an hour");
    assert_eq!(output(&server, &id, "wc -c < f; ls"), format!("{}\nf\n", 10 * MB));
    let other = session_create(&server);
    assert_eq!(upload(&server, &other, &[("path", b"g"), ("file", b"x")]).status, 200, "each has its own");
}
