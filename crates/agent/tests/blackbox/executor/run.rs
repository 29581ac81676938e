//! Commands whose output comes in one answer.

use std::io::Write;

use serde_json::json;

use super::{BEARER, Executor};
use crate::{
    http::request_bytes,
    wire::{eventually, is_alive},
};

#[test]
fn a_command_gives_its_output_and_code() {
    let executor = Executor::start();
    assert_eq!(
        executor.run("echo out; echo err >&2"),
        json!({"stdout": "out\n", "stderr": "err\n", "code": 0})
    );
    let failed = json!({"stdout": "", "stderr": "", "error": "Non-zero exit code", "code": 3});
    assert_eq!(executor.run("exit 3"), failed);
    assert_eq!(executor.run("kill -9 $$")["code"], -1);
    assert_eq!(executor.run("kill -9 $$")["error"], "Non-zero exit code");
    assert_eq!(executor.run(""), json!({"stdout": "", "stderr": "", "code": 0}));
    assert_eq!(executor.run("no-such-program")["code"], 127);
    assert_eq!(executor.run("cat; echo end")["stdout"], "end\n", "the input is empty");
    assert_eq!(executor.run(r"printf 'a\377\303\244\342\202'")["stdout"], "a\u{fffd}ä\u{fffd}");
    assert_eq!(executor.run("printf 'a\u{2028}\"\\\\\\001\\r\\n'")["stdout"], "a\u{2028}\"\\\u{1}\r\n");
}

#[test]
fn where_it_runs_and_with_which_variables_is_the_clients_to_say() {
    let executor = Executor::start();
    std::fs::create_dir(executor.agent.path("sub")).unwrap();
    let here = std::fs::canonicalize(executor.agent.path("")).unwrap();
    let pwd = |cwd| {
        executor.ask("/run", &json!({"cmd": "pwd -P", "cwd": cwd}))["stdout"]
            .as_str()
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(pwd(json!(null)), here.to_str().unwrap());
    assert_eq!(pwd(json!("")), here.to_str().unwrap());
    assert_eq!(pwd(json!("sub")), here.join("sub").to_str().unwrap());
    assert_eq!(pwd(json!(executor.path("sub"))), here.join("sub").to_str().unwrap());
    let env = json!({"A": "1 \"2\"\n3", "PATH": "/nowhere"});
    let ran = executor.ask("/run", &json!({"cmd": "echo \"$A $PATH\"", "env": env}));
    assert_eq!(ran["stdout"], "1 \"2\"\n3 /nowhere\n", "the shell is found all the same");
}

#[test]
fn much_on_one_stream_does_not_hold_up_the_other() {
    let executor = Executor::start();
    let ran = executor.run(
        "head -c 300000 /dev/zero | tr '\\0' e >&2; echo out; head -c 300000 /dev/zero | tr '\\0' e >&2",
    );
    assert_eq!((ran["stdout"].as_str(), ran["code"].as_i64()), (Some("out\n"), Some(0)));
    assert_eq!(ran["stderr"].as_str().unwrap().len(), 600_000);
}

#[test]
fn a_hundred_megabytes_fit_into_one_answer_and_not_into_memory() {
    let executor = Executor::start();
    let answer = executor.post(
        "/run",
        &json!({"cmd": "head -c 100000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero | tr '\\0' 'e' >&2; exit 4"}),
    );
    let body = answer.json();
    assert_eq!(body["stdout"].as_str().unwrap().len(), 100_000_000);
    assert!(body["stdout"].as_str().unwrap().bytes().all(|byte| byte == b'x'));
    assert_eq!(body["stderr"].as_str().unwrap().len(), 5_000_000);
    assert_eq!((body["code"].as_i64(), body["error"].as_str()), (Some(4), Some("Non-zero exit code")));
    assert!(executor.agent.rss_bytes() < 32 << 20, "{}", executor.agent.rss_bytes());
}

#[test]
fn a_long_command_runs_as_a_short_one_does() {
    let executor = Executor::start();
    for length in [120_000, 131_071, 131_072, 300_000] {
        let begin = "echo $#; : ";
        let cmd = format!("{begin}{}", "x".repeat(length - begin.len()));
        assert_eq!(executor.run(&cmd), json!({"stdout": "0\n", "stderr": "", "code": 0}), "{length}");
    }
}

#[test]
fn what_is_left_in_the_background_is_not_waited_for() {
    let executor = Executor::start();
    let ran = executor.run("sleep 1000 & echo $!");
    assert!(is_alive(ran["stdout"].as_str().unwrap()));
}

#[test]
fn a_run_goes_on_when_its_client_is_gone() {
    let executor = Executor::start();
    let mark = executor.path("mark");
    let go = executor.path("go");
    let cmd = format!("touch {mark}.begun; until test -e {go}; do sleep 0.05; done; touch {mark}.ended");
    let mut stream = executor.connect();
    stream
        .write_all(&request_bytes("POST", "/run", BEARER, json!({"cmd": cmd}).to_string().as_bytes()))
        .unwrap();
    eventually("it runs", || std::fs::exists(format!("{mark}.begun")).unwrap());
    drop(stream);
    assert_eq!(executor.run("true")["code"], 0);
    std::fs::write(go, "").unwrap();
    eventually("it ran on", || std::fs::exists(format!("{mark}.ended")).unwrap());
}

#[test]
fn what_can_not_be_started_is_no_error_of_the_server() {
    let executor = Executor::start();
    let ran = executor.ask("/run", &json!({"cmd": "true", "env": {"A=B": "1"}}));
    assert_eq!(ran["code"], -1);
    assert!(ran["error"].as_str().unwrap().contains("no name of an environment variable"), "{ran}");
    let events = super::events(executor.post("/run_streaming", &json!({"cmd": "true", "env": {"": "1"}})));
    assert!(events.len() == 1 && events[0].0 == "error", "{events:?}");
    assert!(events[0].1["error"].as_str().unwrap().contains("environment variable"), "{events:?}");
}
