//! A server that is killed: sandboxes run on, their entrypoints are listened to, paused ones stay paused, tokens count.

use blackbox::deadline::wait_until;
use serde_json::json;

use super::{create, error, execd, get, output, post, start, state};

#[test]
fn sandboxes_go_on_when_their_server_is_killed() {
    let (mut server, client) = start();
    let ticks = "n=0; while :; do echo tick $((n++)); sleep 0.05; done";
    let id = create(&client, &json!({"entrypoint": ["bash", "-c", ticks], "env": {"A": "b"}}));
    let paused = create(&client, &json!({"metadata": {"x": "y"}}));
    assert_eq!(output(&client, &paused, "echo kept > /tmp/file"), [""; 0]);
    assert_eq!(post(&client, &paused, "pause").status, 202);
    let endpoint = client.get(&format!("/v1/sandboxes/{id}/endpoints/44772")).ok();
    server.kill();
    server.start_again();
    let client = server.with_header("OPEN-SANDBOX-API-KEY", &server.key_create(&["--admin"]).text);
    assert_eq!(
        client.get(&format!("/v1/sandboxes/{id}/endpoints/44772")).ok()["headers"],
        endpoint["headers"]
    );
    assert_eq!((state(&client, &id).as_str(), state(&client, &paused).as_str()), ("Running", "Paused"));
    let token = endpoint["headers"]["X-EXECD-ACCESS-TOKEN"].as_str().unwrap();
    let holder = server.with_header("X-EXECD-ACCESS-TOKEN", token);
    assert_eq!(output(&holder, &id, "echo $A"), ["b"]);
    let lines = || {
        let logs = client.get(&format!("/v1/sandboxes/{id}/diagnostics/logs?scope=all")).ok();
        logs["content"].as_str().unwrap().lines().count()
    };
    let before = lines();
    wait_until("its entrypoint is listened to", || lines() > before);
    error(&client.get(&execd(&paused, "/ping")), 409);
    assert_eq!(post(&client, &paused, "resume").status, 202);
    assert_eq!(output(&client, &paused, "cat /tmp/file"), ["kept"]);
    assert_eq!(get(&client, &paused)["metadata"], json!({"x": "y"}));

    // Its end is still its sandbox's, and that of the command that ends it: there may be no answer.
    let ends = json!({"command": "pkill -f 'echo tic[k]'"}).to_string();
    drop(client.send_bytes("POST", &execd(&id, "/command"), Some(("application/json", ends.as_bytes()))));
    wait_until("it has ended", || state(&client, &id) == "Failed");
}
