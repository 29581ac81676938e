//! The commands that look: at the host, and at a running server.

use std::process::Command;

use blackbox::{Server, atoll};
use serde_json::{Value, json};

use super::texts;

#[test]
fn doctor_says_what_the_host_offers() {
    let output = Command::new(atoll()).args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{report:#}");
    assert!(report.to_string().len() > 200, "{report}");
    let table = Command::new(atoll()).arg("doctor").output().unwrap();
    assert!(
        table.status.success() && table.stdout.iter().filter(|byte| **byte == b'\n').count() > 5,
        "{table:?}"
    );
}

#[test]
fn ps_logs_and_rm_work_against_a_server() {
    let server = Server::start();
    let command = |arguments: &[&str]| {
        Command::new(atoll()).args(arguments).args(["--server", server.base()]).output().unwrap()
    };
    assert_eq!(serde_json::from_slice::<Value>(&command(&["ps", "--json"]).stdout).unwrap(), json!([]));
    let id = server.create(&json!({"runtime": "bash", "code": "echo line one; echo line two >&2"}));
    let _ = server.run(&id);
    let list: Value = serde_json::from_slice(&command(&["ps", "--json"]).stdout).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(id), &json!("completed")), "{list}");
    assert!(texts(&command(&["ps"])).0.contains(&id));
    let logs = command(&["logs", &id]);
    let (stdout, stderr) = texts(&logs);
    assert!(
        format!("{stdout}{stderr}").contains("line one") && format!("{stdout}{stderr}").contains("line two"),
        "{logs:?}"
    );
    assert!(command(&["rm", &id]).status.success());
    assert_eq!(server.get("/sandboxes").ok(), json!([]));
    for arguments in [["rm", id.as_str()], ["logs", id.as_str()]] {
        let output = command(&arguments);
        assert!(!output.status.success() && texts(&output).1.contains(&id), "{output:?}");
    }
    let nobody = Command::new(atoll()).args(["ps", "--server", "http://127.0.0.1:9"]).output().unwrap();
    assert!(!nobody.status.success() && texts(&nobody).1.contains("127.0.0.1:9"), "{nobody:?}");
}

#[test]
fn what_is_no_server_is_told() {
    let server = Server::start();
    // Without the trailing slash and the scheme, as people write it.
    let address = server.address().to_string();
    for address in [format!("{address}/"), format!("http://{address}/"), address.clone()] {
        let output = Command::new(atoll()).args(["ps", "--server", &address]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    for wrong in ["https://127.0.0.1:8080", "http://", "not an address"] {
        let output = Command::new(atoll()).args(["ps", "--server", wrong]).output().unwrap();
        assert!(!output.status.success() && texts(&output).1.contains("127.0.0.1:8080"), "{output:?}");
    }
    let elsewhere = format!("{address}/elsewhere");
    let output = Command::new(atoll()).args(["ps", "--server", &elsewhere]).output().unwrap();
    assert!(!output.status.success() && texts(&output).1.contains("has no path"), "{output:?}");
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let server = Server::start();
    let log = server.log();
    assert!(log.contains("serving http://"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
