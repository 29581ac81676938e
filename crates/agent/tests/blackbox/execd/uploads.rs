//! Files come in by multipart bodies, however they are cut, and none comes in part.

use std::{
    fs,
    io::Write,
    net::Shutdown,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use serde_json::json;

use crate::{
    http::{Answer, HttpAgent, TOKEN, request_bytes},
    wire::eventually,
};

const BOUNDARY: &str = "----a-boundary";

fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

fn content_type() -> String {
    format!("Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n")
}

fn upload(agent: &HttpAgent, body: &[u8]) -> Answer {
    agent.request("POST", "/files/upload", &content_type(), body)
}

fn metadata(path: &str) -> Vec<u8> {
    part("metadata", json!({"path": path}).to_string().as_bytes())
}

#[test]
fn files_get_their_content_mode_and_owner() {
    let agent = HttpAgent::start();
    let (one, two) = (agent.path("deep/er/one ü"), agent.path("two"));
    fs::write(&two, "before").unwrap();
    fs::set_permissions(&two, fs::Permissions::from_mode(0o600)).unwrap();
    let content: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let owner = if rustix::process::geteuid().is_root() { "nobody" } else { "" };
    let body = [
        part("metadata", json!({"path": one, "mode": 751, "owner": owner}).to_string().as_bytes()),
        part("file", &content),
        metadata(&two),
        part("file", b""),
        end(),
    ]
    .concat();
    assert_eq!(upload(&agent, &body).status, 200);
    assert!(fs::read(&one).unwrap() == content);
    let found = fs::metadata(&one).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o751);
    if !owner.is_empty() {
        assert_eq!(found.uid(), 65534);
    }
    assert_eq!(fs::read(&two).unwrap(), b"");
    assert_eq!(fs::metadata(&two).unwrap().permissions().mode() & 0o7777, 0o600, "nothing was said of it");
}

#[test]
fn a_body_without_length_may_be_cut_anywhere() {
    let agent = HttpAgent::start();
    let file = agent.path("file");
    let content = format!("\r\n--{}\r\n--\r\n", &BOUNDARY[1..]).repeat(20);
    let body = [metadata(&file), part("file", content.as_bytes()), end()].concat();
    let headers =
        format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\nTransfer-Encoding: chunked\r\n{}", content_type());
    let mut stream = agent.connect();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&request_bytes("POST", "/files/upload", &headers, b"")).unwrap();
    for chunk in body.chunks(7) {
        let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        stream.write_all(&chunk).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(Answer::read(stream).status, 200);
    assert_eq!(fs::read_to_string(file).unwrap(), content);
}

#[test]
fn bodies_that_are_not_pairs_are_refused() {
    let agent = HttpAgent::start();
    let file = agent.path("file");
    let bad_metadata = |text: &str| [part("metadata", text.as_bytes()), part("file", b"x"), end()].concat();
    for (body, reason) in [
        (end(), "no part `metadata`"),
        (Vec::new(), "multipart"),
        ([part("file", b"x"), end()].concat(), "`metadata` was expected"),
        ([metadata(&file), end()].concat(), "no part `file`"),
        ([metadata(&file), metadata(&file), end()].concat(), "`file` was expected"),
        ([metadata(&file), part("other", b"x"), end()].concat(), "\"other\""),
        ([metadata(&file), part("file", b"cut off")].concat(), "multipart"),
        (bad_metadata("{"), "metadata"),
        (bad_metadata("{}"), "path"),
        (bad_metadata("{\"path\":\"/x\",\"mode\":888}"), "octal"),
        (bad_metadata(&format!("{{\"path\":\"/x\"{}}}", " ".repeat(70_000))), "over 65536"),
        (vec![b'x'; 5 << 20], "does not end"),
        ([format!("--{BOUNDARY}\r\nX: ").into_bytes(), vec![b'x'; 5 << 20]].concat(), "does not end"),
    ] {
        upload(&agent, &body).assert_error(400, "INVALID_REQUEST_BODY", reason);
        assert!(!fs::exists(&file).unwrap(), "{reason}");
    }
    upload(&agent, &bad_metadata("{\"path\":\"a\\u0000\"}")).assert_error(400, "INVALID_QUERY", "NUL");
    agent.request("POST", "/files/upload", "", &end()).assert_error(
        400,
        "INVALID_REQUEST_BODY",
        "multipart/form-data",
    );
    let folder = agent.path("");
    let body = [metadata(&folder), part("file", &vec![b'x'; 3 << 20]), end()].concat();
    upload(&agent, &body).assert_error(400, "INVALID_REQUEST", "not a regular file");
}

#[test]
fn an_upload_that_breaks_off_leaves_the_file_as_it_was() {
    let agent = HttpAgent::start();
    let file = agent.path("file");
    fs::write(&file, "before").unwrap();
    let before = fs::read_dir(agent.path("")).unwrap().count();
    let body = [metadata(&file), part("file", &vec![b'x'; 3 << 20])].concat();
    let headers = format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\nContent-Length: 99999999\r\n{}", content_type());
    let mut stream = agent.connect();
    let request =
        request_bytes("POST", "/files/upload", &headers.replace("Content-Length", "X-Ignored"), b"");
    let request =
        String::from_utf8(request).unwrap().replace("Content-Length: 0", "Content-Length: 99999999");
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    eventually("a draft is there", || fs::read_dir(agent.path("")).unwrap().count() > before);
    stream.shutdown(Shutdown::Both).unwrap();
    eventually("the draft is gone", || fs::read_dir(agent.path("")).unwrap().count() == before);
    assert_eq!(fs::read_to_string(file).unwrap(), "before");
}

#[test]
fn a_large_upload_takes_little_memory() {
    let agent = HttpAgent::start();
    agent.get("/ping");
    let before = agent.agent.rss_bytes();
    let file = agent.path("file");
    let head = [metadata(&file), part("file", b"")].concat();
    let head = head.strip_suffix(b"\r\n").unwrap();
    let (piece, pieces) = (vec![7_u8; 1 << 20], 100);
    let tail = [b"\r\n".to_vec(), end()].concat();
    let length = head.len() + piece.len() * pieces + tail.len();
    let headers = format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n{}", content_type());
    let request = String::from_utf8(request_bytes("POST", "/files/upload", &headers, b"")).unwrap();
    let mut stream = agent.connect();
    stream
        .write_all(request.replace("Content-Length: 0", &format!("Content-Length: {length}")).as_bytes())
        .unwrap();
    stream.write_all(head).unwrap();
    let mut grown = 0;
    for _ in 0..pieces {
        stream.write_all(&piece).unwrap();
        grown = grown.max(agent.agent.rss_bytes().saturating_sub(before));
    }
    stream.write_all(&tail).unwrap();
    assert_eq!(Answer::read(stream).status, 200);
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    assert_eq!(fs::metadata(&file).unwrap().len(), 100 << 20);
    assert!(fs::read(file).unwrap().iter().all(|byte| *byte == 7));
}
