//! A server, or its launcher, that dies: what runs goes on, and is found again.

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

#[test]
fn another_launcher_takes_over_when_one_dies() {
    let server = Server::start();
    let code = "n=0; while :; do echo tick $((n++)); sleep 0.05; done";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    for _ in 0..3 {
        server.launcher_kill();
        assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
        assert_eq!(server.status(&id), "running");
    }
    let lines = || server.get(&format!("/admin/api/sandboxes/{id}/logs?lines=1000")).ok();
    let before = lines().as_array().unwrap().len();
    wait_until("it still runs, and is still listened to", || lines().as_array().unwrap().len() > before);
    server.remove(&id);
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
}
