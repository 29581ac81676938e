//! The entrypoint: a sandbox lives as long as it does.

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

use super::{create, error, execd, get, keyed, start, state};

#[test]
fn a_sandbox_ends_with_its_entrypoint() {
    let (server, client) = start();
    for (script, state_at_end, reason, message) in [
        ("exit 0", "Terminated", "entrypoint_exited", "The sandbox exited with status 0"),
        ("exit 3", "Failed", "entrypoint_exited", "The sandbox exited with status 3"),
        ("kill -9 $$", "Failed", "entrypoint_killed", "The sandbox was ended by signal 9"),
    ] {
        // It ends when it is told to, so that all of it is there to be looked at before.
        let script = format!("sleep 1000 & until [ -e /tmp/go ]; do sleep 0.02; done; {script}");
        let id = create(&client, &json!({"entrypoint": ["bash", "-c", script]}));
        assert_eq!(super::output(&client, &id, "touch /tmp/go"), [""; 0]);
        wait_until("it has ended", || state(&client, &id) == state_at_end);
        let status = &get(&client, &id)["status"];
        assert_eq!((&status["reason"], &status["message"]), (&json!(reason), &json!(message)));
        wait_until("nothing of it runs", || server.traces().programs().is_empty());
        error(&client.get(&execd(&id, "/ping")), 409);
        error(&client.post_empty(&format!("/v1/sandboxes/{id}/pause")), 409);
        assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    }
}

#[test]
fn an_entrypoint_that_needs_too_much_memory_is_told_of() {
    let (_server, client) = start();
    let eats = "x = 'x' * (1 << 30)";
    let fields =
        json!({"entrypoint": ["python3", "-c", eats], "resourceLimits": {"cpu": "1", "memory": "64Mi"}});
    let id = create(&client, &fields);
    wait_until("it has ended", || state(&client, &id) == "Failed");
    let status = &get(&client, &id)["status"];
    assert_eq!(status["reason"], "out_of_memory", "{status}");
}

#[test]
fn an_entrypoint_that_is_not_there_makes_no_sandbox() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let answer = client.post("/v1/sandboxes", &super::request(&json!({"entrypoint": ["no-such-program"]})));
    let (code, message) = error(&answer, 400);
    assert_eq!(code, "INVALID_REQUEST");
    assert!(message.starts_with("entrypoint: ") && message.contains("no-such-program"), "{message}");
    assert_eq!(client.get("/v1/sandboxes").ok()["pagination"]["totalItems"], 0);
    server.nothing_left(&before);
}
