//! What code writes comes, whoever writes it, in bounded memory.

use serde_json::json;

use super::{begin, create, run, value, written};
use crate::http::HttpAgent;

/// What the agent may grow by beside output that waits.
const GROWTH_BYTES_MAX: u64 = 24 << 20;

#[test]
fn children_and_the_c_library_are_heard_as_print_is() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let code = "import ctypes, os, subprocess, sys, threading\nprint('one')\nos.system('echo two; echo err >&2')\n\
                os.write(1, b'three\\n')\nctypes.CDLL(None).puts(b'four')\nctypes.CDLL(None).fflush(None)\n\
                t = threading.Thread(target=print, args=('five',))\nt.start(); t.join()\n\
                print('tail é', end='')\nprint('warned', file=sys.stderr, end='')";
    let events = run(&agent, &id, code);
    assert_eq!(written(&events, "stdout"), "one\ntwo\nthree\nfour\nfive\ntail é");
    assert_eq!(written(&events, "stderr"), "err\nwarned");
}

#[test]
fn separators_of_lines_stay_within_their_event() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    assert_eq!(written(&run(&agent, &id, "print('a\\u2028b\\x85c')"), "stdout"), "a\u{2028}b\u{85}c\n");
}

#[test]
fn all_output_comes_before_the_end_and_what_comes_later_with_the_next_run() {
    let agent = HttpAgent::start();
    for (language, code) in [
        ("python", "for i in range(20000): print('%0100d' % i)"),
        ("javascript", "for (let i = 0; i < 20000; i++) console.log(String(i).padStart(100, '0'))"),
        ("bash", "seq -f '%0100.0f' 0 19999"),
    ] {
        let id = create(&agent, language);
        let text = written(&run(&agent, &id, code), "stdout");
        let lines: Vec<String> = (0..20_000).map(|number| format!("{number:0100}\n")).collect();
        assert_eq!(text, lines.concat(), "{language}");
    }
    let id = create(&agent, "bash");
    let gate = agent.path("gate");
    let code = format!("{{ until [ -e {gate} ]; do sleep 0.01; done; echo late; touch {gate}.out; }} & true");
    assert_eq!(written(&run(&agent, &id, &code), "stdout"), "");
    std::fs::write(&gate, "").unwrap();
    crate::wire::eventually("it has written", || std::fs::exists(format!("{gate}.out")).unwrap());
    let mut text = String::new();
    crate::wire::eventually("it is told", || {
        text.push_str(&written(&run(&agent, &id, "true"), "stdout"));
        text == "late\n"
    });
}

#[test]
fn a_hundred_megabytes_come_in_bounded_memory_as_slowly_as_they_are_read() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let other = create(&agent, "python");
    let before = agent.agent.rss_bytes();
    let mut answer =
        begin(&agent, &id, "import sys\nfor i in range(10000): sys.stdout.write('x' * 9999 + '\\n')");
    let mut rest = answer.chunk();
    // While nothing is read, others are served.
    for number in 0..20 {
        assert_eq!(value(&agent, &other, &number.to_string()), number.to_string());
    }
    agent.post("/code", &json!({"context": {"id": id}, "code": "1"})).assert_error(
        409,
        "CONFLICT",
        "runs code",
    );
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
    let (mut bytes, mut is_complete) = (0, false);
    loop {
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
            let event: serde_json::Value = serde_json::from_slice(&rest[..end]).unwrap();
            if event["type"] == "stdout" {
                bytes += event["text"].as_str().unwrap().len();
            }
            is_complete |= event["type"] == "execution_complete";
            rest.drain(..end + 2);
        }
        let chunk = answer.chunk();
        if chunk.is_empty() {
            break;
        }
        rest.extend(chunk);
    }
    assert!(is_complete);
    assert_eq!(bytes, 100_000_000);
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes");
}

#[test]
fn code_goes_on_without_its_client() {
    let agent = HttpAgent::start();
    let id = create(&agent, "python");
    let mut answer = begin(
        &agent,
        &id,
        "import sys\nfor i in range(2000): sys.stdout.write('x' * 9999 + '\\n')\ndone = 5",
    );
    answer.chunk();
    drop(answer);
    crate::wire::eventually("it has ended", || {
        let answer = agent.post("/code", &json!({"context": {"id": id}, "code": "done"}));
        answer.status == 200 && {
            let events = answer.events();
            assert_eq!(written(&events, "stdout"), "");
            events.iter().any(|event| event["results"]["text"] == "5")
        }
    });
}
