//! What is answered against what is documented: requests made from a document, good and bad ones, must be answered as it
//! says, and none with an error of the server.

use std::{fs, path::Path, process::Command};

use blackbox::{Key, Server};
use serde_json::json;

use super::{TESTS, clients, run};
use crate::opensandbox::{create, keyed_by};

/// What holds for every answer.
const CHECKS: &str = "not_a_server_error,content_type_conformance,response_schema_conformance";
/// And where the document lists each status.
const CHECKS_WITH_STATUS: &str =
    "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance";
/// What is not built here, and says so with 501 as the vendor's notes ask.
const NOT_HERE: &str = "^(/v1)?/(pools|templates)";

/// Sends what `document` describes to `url`; paths that fit one of `left_out` are not asked.
fn documented(server: &Server, key: &Key, document: &str, url: &str, checks: &str, left_out: &[&str]) {
    // It writes down what it tried where it runs.
    let folder = std::env::temp_dir().join(format!("atoll-documents-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(clients().join("python/bin/schemathesis"));
    command.args([
        "run",
        document,
        "--url",
        url,
        "--checks",
        checks,
        "--phases",
        "examples,coverage,fuzzing",
    ]);
    command.args(["--max-examples", "10", "--seed", "7", "--no-shrink", "--continue-on-failure"]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "60", "--output-truncate", "false"]);
    command.args(["--header", &format!("OPEN-SANDBOX-API-KEY: {}", key.text)]);
    // Of several such options the last one counts.
    command.args(["--exclude-path-regex", &left_out.join("|")]).current_dir(&folder);
    let written = run(server, key, &mut command);
    assert!(written.contains(" passed"), "{written}");
    fs::remove_dir_all(&folder).unwrap();
}

fn specification(name: &str) -> String {
    Path::new(TESTS).join("specifications").join(name).to_str().unwrap().to_owned()
}

#[test]
fn our_own_document() {
    let server = Server::start();
    let url = format!("http://{}", server.address());
    // Requests into sandboxes are answered by what is inside, and an archive is not made by a generator of JSON.
    let left_out = ["/proxy/", "/executor/", "^/koyeb-sandbox/", "^/r/", "/import$", NOT_HERE];
    let document = format!("{url}/openapi.json");
    documented(&server, &server.key_create(&[]), &document, &url, CHECKS_WITH_STATUS, &left_out);
}

#[test]
fn the_lifecycle_specification() {
    let server = Server::start();
    let url = format!("http://{}/v1", server.address());
    let key = server.key_create(&[]);
    // Its examples name images of a registry far away, which may be out of reach.
    let examples = fs::read_to_string(specification("sandbox-lifecycle.yml")).unwrap();
    let near = std::env::temp_dir().join(format!("atoll-lifecycle-{}.yml", std::process::id()));
    fs::write(&near, examples.replace("uri: python:3.11", "uri: host")).unwrap();
    documented(&server, &key, near.to_str().unwrap(), &url, CHECKS_WITH_STATUS, &[NOT_HERE]);
    fs::remove_file(&near).unwrap();
}

#[test]
fn the_diagnostics_specification() {
    let server = Server::start();
    let url = format!("http://{}/v1", server.address());
    let key = server.key_create(&[]);
    documented(&server, &key, &specification("diagnostic-api.yml"), &url, CHECKS_WITH_STATUS, &[NOT_HERE]);
}

#[test]
fn the_specification_of_what_is_inside() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let id = create(&keyed_by(&server, &key), &json!({}));
    let inside = format!("http://{}/v1/sandboxes/{id}/proxy/44772", server.address());
    // The stream of metrics has no end. Without `verbose` the specification has an empty body, which it calls JSON.
    // It lists no status for what a client asks of commands and files that are not there: 404, not 500, as it has.
    let left_out = ["/metrics/watch", "/files/replace"];
    documented(&server, &key, &specification("execd-api.yaml"), &inside, CHECKS, &left_out);
}
