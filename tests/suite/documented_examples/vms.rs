//! The document of the vms dialect, section "Example: Full Workflow", as it stands there: each command line runs in
//! bash, with only the port and the key replaced.

use blackbox::Server;
use serde_json::{Value, json};

use super::run_line;

/// The section, word for word.
const SECTION: &str = include_str!("vms_full_workflow.md");

/// Its command lines, in their order.
fn examples() -> Vec<&'static str> {
    let block = SECTION.split("```bash\n").nth(1).expect("a block").split("\n```").next().expect("its end");
    block.split("\n\n").collect()
}

/// Runs the example of this number, counted from 1, on a port and with a key.
fn run_ok(server: &Server, number: usize, port: u16, key: &str, status: u16) -> Value {
    let example = examples()[number - 1];
    assert!(example.starts_with(&format!("# {number}. ")), "{example}");
    let command = example.replace("localhost:4000", &format!("localhost:{port}")).replace("ws_your_key", key);
    let (got, body) = run_line(server, &command);
    assert_eq!(got, status, "{example}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_full_workflow_runs_on_any_of_several_ports() {
    assert_eq!(examples().len(), 6);
    assert_eq!(SECTION.matches("curl ").count(), 6, "nothing of it is left out");
    let second = free_port();
    let server = Server::start_with(&["--listen", &format!("127.0.0.1:{second}")]);
    let mut key = String::new();
    for (round, port) in [server.address().port(), second].into_iter().enumerate() {
        let made = run_ok(&server, 1, port, "", 201);
        assert_eq!(made["name"], "demo");
        key = made["key"].as_str().unwrap().to_owned();
        let vm = run_ok(&server, 2, port, &key, 201);
        assert_eq!((&vm["name"], &vm["status"]), (&json!("test"), &json!("running")), "{vm}");
        assert_eq!((&vm["agent_port"], &vm["ssh_port"]), (&json!(3333), &json!(2222)), "free again: {vm}");
        assert_eq!(vm["id"], round as u64 + 1, "not used again: {vm}");
        let ran = run_ok(&server, 3, port, &key, 200);
        let name = ran["snapshot"].as_str().unwrap();
        assert!(name.strip_prefix("cmd_").unwrap().parse::<u64>().is_ok(), "{ran}");
        assert_eq!(ran, json!({"stdout": "", "stderr": "", "exitCode": 0, "snapshot": name}));
        let list = run_ok(&server, 4, port, &key, 200);
        let names: Vec<_> =
            list["snapshots"].as_array().unwrap().iter().map(|it| &it["snapshot_name"]).collect();
        assert_eq!(names, ["initial", name]);
        assert_eq!(list["snapshots"][1]["command"], "echo hello > file.txt");
        let restored = run_ok(&server, 5, port, &key, 200);
        assert_eq!(restored, json!({"message": "Restored to snapshot \"initial\""}));
        let files = server.with_header("x-api-key", &key).post("/vms/test/run", &json!({"command": "ls -A"}));
        assert_eq!(files.ok()["stdout"], "");
        assert_eq!(run_ok(&server, 6, port, &key, 200), json!({"message": "VM \"test\" destroyed"}));
    }
    assert_eq!(server.with_header("x-api-key", &key).get("/vms").ok(), json!({"vms": []}));
}
