//! A paused sandbox uses no processor, keeps its memory, and goes on where it was.

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

use super::{create, error, execd, get, keyed, output, post, start, state};

/// Processor time that the sandbox's programs have used, in clock ticks, and how many there are.
fn ticks(server: &Server) -> Option<(u64, usize)> {
    let traces = server.traces();
    let programs = traces.programs();
    let used = programs.iter().map(|program| {
        let pid = program.split(' ').next()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
    });
    Some((used.sum::<Option<u64>>()?, programs.len()))
}

const COUNTS: &str = "n=0; while :; do n=$((n+1)); [ $((n % 1000)) = 0 ] && echo $n > /tmp/n; done";

#[test]
fn a_paused_sandbox_stands_still_and_goes_on() {
    let (server, client) = start();
    let id = create(&client, &json!({"entrypoint": ["bash", "-c", COUNTS]}));
    wait_until("it counts", || !output(&client, &id, "cat /tmp/n 2>/dev/null || true").is_empty());
    assert_eq!(post(&client, &id, "pause").status, 202);
    assert_eq!(state(&client, &id), "Paused");
    let before = ticks(&server).unwrap();
    // As long as it takes to have done some work otherwise: another sandbox does.
    let other = create(&client, &json!({}));
    assert_eq!(
        output(&client, &other, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i"),
        ["200000"]
    );
    assert_eq!(client.delete(&format!("/v1/sandboxes/{other}")).status, 204);
    wait_until("the other one is gone", || ticks(&server).is_some_and(|(_, count)| count == before.1));
    assert_eq!(ticks(&server).unwrap(), before);

    for path in ["/ping", "/command"] {
        let (code, message) = error(&client.get(&execd(&id, path)), 409);
        assert!(code == "CONFLICT" && message.contains("paused"), "{message}");
    }
    error(&post(&client, &id, "pause"), 409);
    error(&post(&client, &id, "snapshots"), 409);
    assert_eq!(post(&client, &id, "resume").status, 202);
    assert_eq!(state(&client, &id), "Running");
    let at: u64 = output(&client, &id, "cat /tmp/n")[0].parse().unwrap();
    wait_until("it goes on", || output(&client, &id, "cat /tmp/n")[0].parse::<u64>().unwrap_or(0) > at);
    error(&post(&client, &id, "resume"), 409);
}

#[test]
fn a_paused_sandbox_can_be_deleted_and_ends_on_time() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let id = create(&client, &json!({"entrypoint": ["bash", "-c", COUNTS]}));
    assert_eq!(post(&client, &id, "pause").status, 202);
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    server.nothing_left(&before);
}

#[test]
fn a_sandbox_that_nobody_uses_is_paused_and_resumed_by_its_next_use() {
    let (_server, client) = start();
    let id = create(&client, &json!({"extensions": {"idle.pause.seconds": "1"}}));
    assert_eq!(get(&client, &id)["extensions"], json!({"idle.pause.seconds": "1"}));
    assert_eq!(output(&client, &id, "echo 1 > /tmp/kept"), [""; 0]);
    wait_until("it is paused", || state(&client, &id) == "Paused");
    assert_eq!(output(&client, &id, "cat /tmp/kept"), ["1"]);
    assert_eq!(state(&client, &id), "Running");
    // A stream that goes on is use.
    let seconds = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.3; done";
    assert_eq!(output(&client, &id, seconds).len(), 8);
    wait_until("it is paused again", || state(&client, &id) == "Paused");
    let events = client.get(&format!("/v1/sandboxes/{id}/diagnostics/events?scope=all")).ok();
    let text = events["content"].as_str().unwrap();
    let resumed = text.matches("sandbox.resumed").count();
    assert_eq!(resumed, 1, "{text}");
    assert_eq!(post(&client, &id, "resume").status, 202);
}

#[test]
fn use_renews_a_lease() {
    let (_server, client) = start();
    let id = create(&client, &json!({"timeout": 60, "extensions": {"access.renew.extend.seconds": "3600"}}));
    let before = get(&client, &id)["expiresAt"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &id, "echo 1"), ["1"]);
    let after = get(&client, &id)["expiresAt"].as_str().unwrap().to_owned();
    assert!(after > before, "{before} {after}");
}
