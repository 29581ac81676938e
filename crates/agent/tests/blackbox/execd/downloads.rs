//! Files come out whole, in ranges and in lines.

use std::fs;

use crate::http::HttpAgent;

#[test]
fn a_file_comes_as_it_is() {
    let agent = HttpAgent::start();
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(agent.path("a \"b\" ü"), &content).unwrap();
    let answer = agent.get(&format!("/files/download?path={}", agent.path("a%20%22b%22%20%C3%BC")));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/octet-stream")));
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename*=UTF-8''a%20%22b%22%20%C3%BC")
    );
    assert!(answer.bytes() == content);
    fs::write(agent.path("empty"), "").unwrap();
    assert_eq!(agent.get(&format!("/files/download?path={}", agent.path("empty"))).bytes(), b"");
    agent.get("/files/download?path=/no/such").assert_error(404, "FILE_NOT_FOUND", "/no/such");
    agent.get("/files/download?path=/").assert_error(400, "INVALID_REQUEST", "not a regular file");
    agent.get("/files/download").assert_error(400, "MISSING_QUERY", "path");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        agent.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    agent.get(&format!("/files/download?path={}", agent.path("pipe"))).assert_error(
        400,
        "INVALID_REQUEST",
        "not a regular file",
    );
}

#[test]
fn ranges_come_as_parts() {
    let agent = HttpAgent::start();
    fs::write(agent.path("file"), "0123456789").unwrap();
    let target = format!("/files/download?path={}", agent.path("file"));
    let range = |range: &str| agent.request("GET", &target, &format!("Range: {range}\r\n"), b"");
    for (header, part, content) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=5-999", "bytes 5-9/10", "56789"),
    ] {
        let answer = range(header);
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(part)));
        assert_eq!(answer.text(), content);
    }
    for header in ["bytes=10-", "bytes=x", "lines=1-2", "bytes=4-2"] {
        let answer = range(header);
        assert_eq!(answer.header("content-range"), Some("bytes */10"));
        answer.assert_error(416, "RANGE_NOT_SATISFIABLE", "10 bytes");
    }
    let answer = agent.request("GET", &format!("{target}&offset=1"), "Range: bytes=0-1\r\n", b"");
    answer.assert_error(400, "INVALID_QUERY", "Range");
}

#[test]
fn lines_come_as_text() {
    let agent = HttpAgent::start();
    let content: String = (1..=100_000).map(|line| format!("line {line}\n")).collect::<String>() + "tail";
    fs::write(agent.path("file"), &content).unwrap();
    let target = format!("/files/download?path={}", agent.path("file"));
    for (query, skip, take) in [
        ("&offset=1&limit=1", 0, 1),
        ("&limit=3", 0, 3),
        ("&offset=99999", 99_998, 9),
        ("&offset=50000&limit=40000", 49_999, 40_000),
        ("&offset=100001", 100_000, 9),
        ("&offset=100002", 100_001, 9),
    ] {
        let answer = agent.get(&format!("{target}{query}"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        let expected: String = content.split_inclusive('\n').skip(skip).take(take).collect();
        assert!(answer.text() == expected, "{query}");
    }
    for query in ["&offset=0", "&limit=0", "&offset=-1", "&limit=x"] {
        let name = &query[1..query.find('=').unwrap()];
        agent.get(&format!("{target}{query}")).assert_error(400, "INVALID_QUERY", name);
    }
}

#[test]
fn a_large_download_takes_little_memory_however_slow_its_reader() {
    let agent = HttpAgent::start();
    agent.get("/ping");
    let file = fs::File::create(agent.path("file")).unwrap();
    file.set_len(200 << 20).unwrap();
    let before = agent.agent.rss_bytes();
    let answer = agent.get(&format!("/files/download?path={}", agent.path("file")));
    for _ in 0..20 {
        assert_eq!(agent.get("/ping").status, 200);
    }
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "grown by {grown} bytes");
    assert_eq!(answer.bytes().len(), 200 << 20);
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 8 << 20, "grown by {grown} bytes");
}
