//! Which contexts there are, and requests that make no sense.

use std::{fs, io::Write};

use protocol::{
    GuestPath,
    agent::{Event, HttpDialect, Request},
    limits::Limits,
};
use serde_json::{Value, json};

use super::{begin, create, run, value, written};
use crate::{
    http::{Answer, HttpAgent, request_bytes},
    wire::{Agent, eventually, is_alive},
};

#[test]
fn contexts_are_listed_by_language_and_deleted_alone_or_together() {
    let agent = HttpAgent::start();
    let (one, two, shell) = (create(&agent, "python"), create(&agent, "python"), create(&agent, "bash"));
    let list = |language: &str| agent.get(&format!("/code/contexts?language={language}")).json();
    let python = |id: &str| json!({"id": id, "language": "python"});
    assert_eq!(list("python"), json!([python(&one), python(&two)]));
    assert_eq!(agent.get(&format!("/code/contexts/{one}")).json(), python(&one));
    assert_eq!(list("java"), json!([]));
    assert_eq!(agent.delete(&format!("/code/contexts/{one}")).status, 200);
    assert_eq!(list("python"), json!([python(&two)]));
    agent.delete(&format!("/code/contexts/{one}")).assert_error(404, "NOT_FOUND", "no context");
    assert_eq!(agent.delete("/code/contexts?language=python").status, 200);
    assert_eq!(list("python"), json!([]));
    assert_eq!(list("bash"), json!([{"id": shell, "language": "bash"}]));
}

#[test]
fn contexts_share_nothing_and_run_at_once() {
    let agent = HttpAgent::start();
    for (language, set, get) in [
        ("python", "x = 'WORD'", "globals().get('x', '')"),
        ("javascript", "globalThis.x = 'WORD'", "globalThis.x ?? ''"),
    ] {
        let (one, two) = (create(&agent, language), create(&agent, language));
        run(&agent, &one, &set.replace("WORD", "one"));
        assert_eq!(value(&agent, &two, get), "''");
        run(&agent, &two, &set.replace("WORD", "two"));
        assert_eq!(value(&agent, &one, get), "'one'");
    }
    // Each waits for the other.
    let (one, two) = (create(&agent, "bash"), create(&agent, "bash"));
    let wait = |own: &str, other: &str| {
        format!("touch {}; until [ -e {} ]; do sleep 0.01; done", agent.path(own), agent.path(other))
    };
    let first = begin(&agent, &one, &wait("a", "b"));
    let second = begin(&agent, &two, &wait("b", "a"));
    assert_eq!(first.events().last().unwrap()["type"], "execution_complete");
    assert_eq!(second.events().last().unwrap()["type"], "execution_complete");
}

#[test]
fn a_language_alone_means_its_default_context() {
    let agent = HttpAgent::start();
    let own = create(&agent, "python");
    run(&agent, &own, "x = 1");
    let run =
        |code: &str| agent.post("/code", &json!({"context": {"language": "python"}, "code": code})).events();
    let first = run("x = 2");
    let second = run("x");
    assert_eq!(first[0]["text"], second[0]["text"]);
    assert_ne!(first[0]["text"], own);
    assert_eq!((&first[1]["execution_count"], &second[1]["execution_count"]), (&json!(1), &json!(2)));
    assert_eq!(second[2]["results"], json!({"text": "2"}));
    assert_eq!(agent.get("/code/contexts?language=python").json().as_array().unwrap().len(), 2);
}

#[test]
fn behind_a_server_contexts_have_the_environment_and_folder_that_it_gives() {
    let agent = Agent::start();
    let path = std::env::var("PATH").unwrap();
    let ask = |word: &str, cwd: &str, target: &str, body: Value| {
        let mut connection = agent.connect();
        let env = [("PATH", path.as_str()), ("HOME", "/nonexistent"), ("WORD", word), ("JUPYTER_PORT", "0")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let (limits, cwd) = (Limits::default(), GuestPath::absolute(cwd).unwrap());
        assert_eq!(
            connection.ask(&Request::Http { dialect: HttpDialect::Execd, limits, env, cwd, user: None }),
            Event::Done
        );
        let body = body.to_string();
        connection.stream.write_all(&request_bytes("POST", target, "", body.as_bytes())).unwrap();
        Answer::read(connection.stream)
    };
    for (language, code) in [
        ("python", "import os; print(os.environ['WORD'], os.getcwd())"),
        ("javascript", "console.log(process.env.WORD, process.cwd())"),
        ("bash", "echo $WORD $PWD"),
    ] {
        let create = |word, cwd| {
            let made = ask(word, cwd, "/code/context", json!({"language": language})).json();
            made["id"].as_str().unwrap().to_owned()
        };
        let told = |id: &str| {
            let run = json!({"context": {"id": id}, "code": code});
            written(&ask("later", "/usr", "/code", run).events(), "stdout")
        };
        // The second finds ready what was made for the first.
        let ids = [create("one", "/var"), create("one", "/var"), create("other", "/etc")];
        assert_eq!(ids.map(|id| told(&id)), ["one /var\n", "one /var\n", "other /etc\n"], "{language}");
    }
}

#[test]
fn a_context_runs_one_code_at_a_time_and_all_of_it_ends_when_it_is_deleted() {
    let agent = HttpAgent::start();
    let pids = agent.path("pids");
    for (language, code) in [
        (
            "bash",
            format!("setsid sleep 1000 & sleep 1000 & echo $$ $! > {pids}; mv {pids} {pids}.all; sleep 1000"),
        ),
        (
            "python",
            format!(
                "import os, subprocess, time\np = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n\
                 open('{pids}', 'w').write(f'{{os.getpid()}} {{p.pid}}')\nos.rename('{pids}', '{pids}.all')\ntime.sleep(1000)"
            ),
        ),
    ] {
        let id = create(&agent, language);
        let running = begin(&agent, &id, &code);
        let all = format!("{pids}.all");
        eventually("it runs", || fs::exists(&all).unwrap());
        let content = fs::read_to_string(&all).unwrap();
        fs::remove_file(&all).unwrap();
        agent.post("/code", &json!({"context": {"id": id}, "code": "1"})).assert_error(
            409,
            "CONFLICT",
            "runs code",
        );
        assert_eq!(agent.delete(&format!("/code/contexts/{id}")).status, 200);
        let error = running.events().last().unwrap()["error"].clone();
        assert_eq!(error["ename"], "ContextDied");
        assert!(error["evalue"].as_str().unwrap().contains("deleted"), "{error}");
        for pid in content.split_whitespace() {
            assert!(!is_alive(pid), "{language}: {pid}");
        }
        agent.post("/code", &json!({"context": {"id": id}, "code": "1"})).assert_error(404, "NOT_FOUND", &id);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let agent = HttpAgent::start();
    let id = create(&agent, "bash");
    let body = |value, reason: &str| {
        agent.post("/code", &value).assert_error(400, "INVALID_REQUEST_BODY", reason);
    };
    body(json!({}), "code");
    body(json!({"code": ""}), "empty");
    body(json!({"code": 7}), "invalid type");
    body(json!({"code": "1", "context": []}), "invalid length");
    body(json!({"code": "1", "context": {"language": "a b"}}), "\"a b\" is not known");
    body(json!({"code": "1", "context": {"language": "klingon"}}), "\"klingon\" is not known");
    body(json!({"code": "1", "context": {"id": id, "language": "python"}}), "is for bash");
    let create = |value, reason: &str| {
        agent.post("/code/context", &value).assert_error(400, "INVALID_REQUEST_BODY", reason);
    };
    create(json!({}), "language");
    create(json!({"language": ""}), "not known");
    create(json!({"language": "klingon"}), "not known");
    create(json!({"language": "../x"}), "not known");
    agent.post("/code", &json!({"code": "1", "context": {"id": "nope"}})).assert_error(
        404,
        "NOT_FOUND",
        "nope",
    );
    agent.get("/code/contexts/nope").assert_error(404, "NOT_FOUND", "nope");
    agent.delete("/code?id=nope").assert_error(404, "NOT_FOUND", "nope");
    agent.delete("/code").assert_error(400, "MISSING_QUERY", "id");
    agent.get("/code/contexts").assert_error(400, "MISSING_QUERY", "language");
    agent.delete("/code/contexts").assert_error(400, "MISSING_QUERY", "language");
    agent.get("/code").assert_error(405, "METHOD_NOT_ALLOWED", "POST, DELETE");
    assert_eq!(agent.get("/code/contexts?language=klingon").json(), json!([]));
    for _ in 0..63 {
        super::create(&agent, "bash");
    }
    agent.post("/code/context", &json!({"language": "bash"})).assert_error(
        429,
        "LIMIT_REACHED",
        "64 contexts",
    );
}
