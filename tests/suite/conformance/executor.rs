//! The published client of the executor, unmodified: against the agent alone, and through the server by its edge.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use blackbox::Server;
use serde_json::json;

use super::clients::{passed, python};
use crate::opensandbox::{create, keyed};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/executor");
/// How many there are.
const COUNT: usize = 24;

/// Runs them with a client that is told this.
fn conformance(url: &str, secret: &str, routing_key: &str, shown: &str) {
    let mut python = python();
    python.current_dir(TESTS).envs([
        ("EXECUTOR_URL", url),
        ("EXECUTOR_SECRET", secret),
        ("EXECUTOR_ROUTING_KEY", routing_key),
        ("EXECUTOR_SHOWN", shown),
    ]);
    let ran = python.output().expect("the clients are installed");
    let written = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{written}");
    assert_eq!(passed(&written), COUNT, "{written}");
}

/// An agent alone, in a folder of its own.
struct Alone {
    process: Child,
    folder: PathBuf,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The agent that the server has in it.
fn agent() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/agent/x86_64-unknown-linux-gnu/agent/atoll-agent")
}

#[test]
fn the_client_of_the_executor_against_the_agent_alone() {
    let folder = PathBuf::from(format!("/var/tmp/atoll-executor-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let mut process = Command::new(agent())
        .arg("executor")
        .envs([("SANDBOX_SECRET", "s3cret"), ("PORT", "0"), ("PROXY_PORT", "0")])
        .env("TMPDIR", &folder)
        .current_dir(&folder)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the agent is built");
    let mut line = String::new();
    BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let _alone = Alone { process, folder };
    let ports: Vec<u16> = line
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [port, proxy] = ports[..] else { panic!("{line}") };
    conformance(&format!("http://127.0.0.1:{port}"), "s3cret", "", &format!("http://127.0.0.1:{proxy}"));
}

#[test]
fn the_client_of_the_executor_through_the_server() {
    let server = Server::start();
    let client = keyed(&server);
    let id = create(&client, &json!({}));
    let endpoint = client.get(&format!("/v1/sandboxes/{id}/endpoints/3031")).ok();
    let token = endpoint["headers"]["X-EXECD-ACCESS-TOKEN"].as_str().unwrap();
    conformance(
        &format!("{}/koyeb-sandbox", server.base()),
        token,
        &id,
        &format!("{}/r/{id}", server.base()),
    );
}
