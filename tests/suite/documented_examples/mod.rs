//! The examples of the sandbox-service document, section "Main API Endpoints", as they stand there: each
//! command line runs in bash, with only the port and the example's id replaced.

mod vms;

use std::process::Command;

use blackbox::{Server, deadline::found};
use serde_json::{Value, json};

/// The section, word for word.
const SECTION: &str = include_str!("main_api_endpoints.md");
/// The id that the document uses for all its sandboxes.
const EXAMPLE_ID: &str = "fab81d7c-f665-432b-85c4-f9d380019709";

/// The command lines under a heading (`### Create Sandbox`), in their order.
fn examples(heading: &str) -> Vec<&'static str> {
    let start = SECTION.find(&format!("### {heading}\n")).expect("the heading is in the document");
    let text = &SECTION[start + 4..];
    let text = &text[..text.find("\n### ").unwrap_or(text.len())];
    let blocks = text.split("```bash\n").skip(1).map(|block| block.split("\n```").next().expect("a block"));
    blocks.collect()
}

/// Runs an example; status and body.
fn run(server: &Server, example: &str, id: &str) -> (u16, String) {
    let here = format!("localhost:{}", server.address().port());
    run_line(server, &example.replace("localhost:8070", &here).replace(EXAMPLE_ID, id))
}

/// Runs a command line with curl; status and body.
fn run_line(server: &Server, command: &str) -> (u16, String) {
    // The command line itself stays as it is: what this test needs besides comes from a file of options.
    let home = server.data().with_extension("curl");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(
        home.join(".curlrc"),
        "silent\nshow-error\nnoproxy = *\nwrite-out = \"\\n%{http_code}\"\n",
    )
    .unwrap();
    let output = Command::new("bash").args(["-c", command]).env("CURL_HOME", &home).output().unwrap();
    std::fs::remove_dir_all(&home).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let (body, status) = text.rsplit_once('\n').expect("a line with the status");
    (status.parse().expect("a status"), body.to_owned())
}

fn run_ok(server: &Server, example: &str, id: &str) -> Value {
    let (status, body) = run(server, example, id);
    assert_eq!(status, 200, "{example}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Runs the example that creates a sandbox of this kind, then the example that executes it.
fn create_and_execute(server: &Server, number: usize) -> (Value, Value) {
    let created = run_ok(server, examples("Create Sandbox")[number], EXAMPLE_ID);
    let executed = run_ok(server, examples("Execute Code")[0], created["id"].as_str().unwrap());
    assert_eq!(executed["sandbox_id"], created["id"]);
    assert!(executed["execution_time_ms"].is_u64(), "{executed}");
    (created, executed)
}

#[test]
fn every_example_of_the_section_is_run_by_a_test() {
    let count = |heading| examples(heading).len();
    assert_eq!(count("Create Sandbox"), 4);
    for heading in ["Health Check", "Get Sandbox Info", "Execute Code", "Upload Files", "List Sandboxes"] {
        assert_eq!(count(heading), 1, "{heading}");
    }
    assert_eq!(count("Delete Sandbox"), 1);
    assert_eq!(SECTION.matches("```bash").count(), 10);
}

#[test]
fn the_basic_node_script_says_hello_through_its_whole_life() {
    let server = Server::start();
    let health = run_ok(&server, examples("Health Check")[0], EXAMPLE_ID);
    assert_eq!((&health["status"], &health["service"]), (&json!("ok"), &json!("sandbox-service")));
    assert!(health["version"].as_str().is_some_and(|version| version.split('.').count() == 3), "{health}");

    let (created, executed) = create_and_execute(&server, 0);
    let id = created["id"].as_str().unwrap();
    let mut fields: Vec<_> = created.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["created_at", "id", "memory_limit_mb", "runtime", "status", "timeout_ms"]);
    assert_eq!(created["status"], "created");
    assert_eq!(created["runtime"], "node");
    assert_eq!(created["timeout_ms"], 30_000);
    assert_eq!(created["memory_limit_mb"], 256);
    assert_eq!(id.as_bytes()[14], b'4', "a version 4 UUID");
    assert!(created["created_at"].as_str().unwrap().ends_with('Z'), "{created}");

    assert_eq!(executed["stdout"], "Hello, World!\n");
    assert_eq!(executed["stderr"], "");
    assert_eq!((&executed["success"], &executed["exit_code"]), (&json!(true), &json!(0)));

    let info = run_ok(&server, examples("Get Sandbox Info")[0], id);
    assert_eq!(info["status"], "completed");
    assert_eq!(info["created_at"], created["created_at"]);

    let uploaded = run_ok(&server, examples("Upload Files")[0], id);
    assert_eq!(uploaded, json!({"message": "Files uploaded successfully", "sandbox_id": id}));

    let list = run_ok(&server, examples("List Sandboxes")[0], id);
    assert_eq!(list, json!([info]));

    let (status, body) = run(&server, examples("Delete Sandbox")[0], id);
    assert_eq!((status, body.as_str()), (204, ""));
    let (status, body) = run(&server, examples("Delete Sandbox")[0], id);
    assert_eq!(status, 404, "{body}");
    assert_eq!(run_ok(&server, examples("List Sandboxes")[0], id), json!([]));
}

#[test]
fn the_persistent_node_server_is_up_when_execute_answers() {
    let server = Server::start();
    let (created, executed) = create_and_execute(&server, 1);
    assert_eq!(created["timeout_ms"], 300_000);
    assert_eq!(executed["stdout"], "Persistent container with dev server setup completed");
    assert_eq!((&executed["success"], &executed["exit_code"]), (&json!(true), &json!(0)));
    let id = created["id"].as_str().unwrap();
    let info = run_ok(&server, examples("Get Sandbox Info")[0], id);
    assert_eq!(info["status"], "running");
    let log = found(std::time::Duration::from_secs(10), || {
        let log = server.get(&format!("/admin/api/sandboxes/{id}/logs")).ok();
        log.as_array().is_some_and(|lines| !lines.is_empty()).then_some(log)
    });
    assert_eq!(log.expect("a line")[0]["message"], "Server running on port 3000");
    assert_eq!(run(&server, examples("Delete Sandbox")[0], id).0, 204);
}

#[test]
fn typescript_with_dependencies_prints_a_random_uuid() {
    let server = Server::start();
    let (_, executed) = create_and_execute(&server, 2);
    let stdout = executed["stdout"].as_str().unwrap();
    let uuid = stdout.strip_prefix("Random UUID: ").unwrap_or_else(|| panic!("{executed}")).trim_end();
    let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{executed}");
    assert_eq!(uuid.as_bytes()[14], b'4', "a version 4 UUID");
    assert_eq!(executed["success"], true);
}

#[test]
fn bun_prints_its_environment_variables() {
    let server = Server::start();
    let (_, executed) = create_and_execute(&server, 3);
    assert_eq!(executed["stdout"], "Environment: development\nAPI Key: test-key-123\n");
    assert_eq!(executed["success"], true);
}
