//! Bash in contexts.

use serde_json::json;

use super::{create, error, run, written};
use crate::http::HttpAgent;

#[test]
fn a_shell_keeps_what_it_has_and_its_exit_code_is_the_error() {
    let agent = HttpAgent::start();
    let id = create(&agent, "bash");
    let out = |code: &str| written(&run(&agent, &id, code), "stdout");
    out("a='one  \"two\"'; b=(x 'y z'); f() { echo \"f $1 $a\"; }; alias hi='echo hi'; cd /usr");
    assert_eq!(out("f 1; echo ${b[1]}; pwd; hi"), "f 1 one  \"two\"\ny z\n/usr\nhi\n");
    assert_eq!(out("cat <<'END'\nit's $a\\\nEND"), "it's $a\\\n");
    let failed = error(&agent, &id, "echo x; sh -c 'exit 7'");
    assert_eq!(failed, json!({"ename": "CommandExecError", "evalue": "7", "traceback": ["exit status 7"]}));
    assert_eq!(out("echo $?"), "7\n");
    assert_eq!(error(&agent, &id, "if")["evalue"], "2");
    assert_eq!(out("set -o pipefail; shopt -o pipefail | tr '\\t' ' '"), "pipefail        on\n");
    assert_eq!(out("return 0; echo never"), "");
}

#[test]
fn a_shell_says_nothing_of_itself_and_its_programs_have_no_descriptor_but_three() {
    let agent = HttpAgent::start();
    let id = create(&agent, "bash");
    let events = run(&agent, &id, "PS1='prompt> '; PS2='more> '; sh -c 'kill -9 $$'");
    assert_eq!((written(&events, "stderr").as_str(), &events[0]["error"]["evalue"]), ("", &json!("137")));
    let events = run(&agent, &id, "for i in 1\ndo\necho $i\ndone");
    assert_eq!((written(&events, "stdout").as_str(), written(&events, "stderr").as_str()), ("1\n", ""));
    let events = run(&agent, &id, "sh -c 'for fd in /proc/self/fd/*; do [ -e $fd ] && echo ${fd##*/}; done'");
    assert_eq!(written(&events, "stdout"), "0\n1\n2\n");
    // Input is there, and empty: also after code that is longer than a pipe holds.
    let events = run(&agent, &id, &format!("x={}; cat; echo ${{#x}} $?", "y".repeat(200_000)));
    assert_eq!(written(&events, "stdout"), "200000 0\n");
    assert_eq!(error(&agent, &id, "read line")["evalue"], "1");
}

#[test]
fn without_a_context_code_is_a_command_for_a_shell_and_nothing_stays() {
    let agent = HttpAgent::start();
    let run = |code: &str| {
        let answer = agent.post("/code", &json!({"code": code}));
        assert_eq!(answer.status, 200);
        answer.events()
    };
    assert_eq!(written(&run("a=1; echo hello"), "stdout"), "hello\n");
    assert_eq!(written(&run("echo ${a-none}"), "stdout"), "none\n");
    assert_eq!(agent.get("/code/contexts?language=bash").json(), json!([]));
}
