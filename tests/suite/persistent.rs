//! Sandboxes whose program goes on after the request that starts it.

use blackbox::{Server, deadline::wait_until};
use serde_json::{Value, json};

fn messages(server: &Server, id: &str) -> Vec<(String, String)> {
    let log = server.get(&format!("/admin/api/sandboxes/{id}/logs?lines=1000")).ok();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    log.as_array().unwrap().iter().map(|line| (text(line, "level"), text(line, "message"))).collect()
}

#[test]
fn a_program_goes_on_until_its_sandbox_is_deleted() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let code = "echo started; echo problem >&2; n=0; while :; do echo tick $((n++)); sleep 0.05; done";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    let run = server.run(&id);
    assert!(run.success && run.is_running, "{run:?}");
    assert_eq!(run.stdout, "Persistent container setup completed");
    assert_eq!(server.status(&id), "running");
    wait_until("it has gone on for a while", || {
        messages(&server, &id).contains(&("INFO".to_owned(), "tick 9".to_owned()))
    });
    let messages = messages(&server, &id);
    assert!(messages.contains(&("INFO".to_owned(), "started".to_owned())), "{messages:?}");
    assert!(messages.contains(&("ERROR".to_owned(), "problem".to_owned())), "{messages:?}");
    server.remove(&id);
    server.nothing_left(&before);
}

#[test]
fn files_are_written_while_it_runs() {
    let server = Server::start();
    let code = "until [ -s new ]; do sleep 0.02; done; echo found: $(cat new); sleep 1000";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    let _ = server.post(&format!("/sandbox/{id}/files"), &json!([{"path": "new", "content": "hello"}])).ok();
    wait_until("it has seen the file", || {
        messages(&server, &id).contains(&("INFO".to_owned(), "found: hello".to_owned()))
    });
}

#[test]
fn a_program_that_fails_to_start_is_answered_with_its_output() {
    let server = Server::start();
    let failing = json!({
        "runtime": "node", "code": "console.error('cannot listen'); process.exit(5)",
        "mode": "persistent", "dev_server": true,
    });
    let id = server.create(&failing);
    let run = server.run(&id);
    assert!(!run.success && !run.is_running, "{run:?}");
    assert_eq!(run.exit_code, 5, "{run:?}");
    assert!(run.stderr.contains("cannot listen"), "{run:?}");
    assert_eq!(server.status(&id), "failed");
}

#[test]
fn bun_serves_a_dev_server_with_the_entry_point_given() {
    let server = Server::start();
    let id = server.create(&json!({
        "runtime": "bun",
        "code": "Bun.serve({port: 3000, fetch: () => new Response('hi')}); console.log('up')",
        "entry_point": "bun run --hot index.ts", "mode": "persistent", "dev_server": true,
    }));
    let info = server.get(&format!("/sandbox/{id}")).ok();
    assert_eq!(info["dev_server_url"], format!("{}/proxy/{id}/", server.base()));
    let answer = server.post_empty(&format!("/sandbox/{id}/execute")).ok();
    assert_eq!(answer["stdout"], "Persistent container with dev server setup completed");
    assert_eq!(answer["dev_server_url"], info["dev_server_url"]);
    assert_eq!(answer["is_running"], true);
}

#[test]
fn a_persistent_program_needs_a_sandbox_that_is_kept() {
    let server = Server::start();
    let program = json!({"runtime": "bash", "code": "sleep 1", "mode": "persistent"});
    assert!(server.post("/execute", &program).error(400).starts_with("mode: "));
}
