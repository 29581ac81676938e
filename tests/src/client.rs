//! A client of one server, over connections that are kept alive. May be cloned, and used by many threads.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use ureq::{Agent, http::Request};

use crate::{
    answer::{Answer, RawAnswer, Run},
    keys::Key,
};

/// Longer than any test may take: an answer that never comes fails that test alone.
const TIME_LIMIT: Duration = Duration::from_secs(170);
/// More than any answer of a test.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// A client.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// A client of the server that listens here.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config =
            Agent::config_builder().timeout_global(Some(TIME_LIMIT)).http_status_as_error(false).proxy(None);
        Self { agent: config.build().into(), base: format!("http://{address}"), headers: Vec::new() }
    }

    /// The same, sending one more header with every request.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same, with a key.
    #[must_use]
    pub fn with_key(&self, key: &Key) -> Self {
        self.with_header("x-api-key", &key.text)
    }

    /// Where the server is: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request, with JSON where there is a body.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer, ureq::Error> {
        let body = body.map(|body| ("application/json", body));
        Ok(self.send_bytes(method, path, body)?.into_text())
    }

    /// The same with a body of any type; the answer's may be no text.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_bytes(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> Result<RawAnswer, ureq::Error> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = self.headers.iter().fold(request, |it, (name, value)| it.header(name, value));
        let mut response = match body {
            Some((kind, body)) => self.agent.run(request.header("content-type", kind).body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec()?;
        Ok(RawAnswer { status: response.status().as_u16(), headers, body })
    }

    fn must(&self, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
        self.send(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Gets.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.must("GET", path, None)
    }

    /// Posts JSON.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.must("POST", path, Some(body.to_string().as_bytes()))
    }

    /// Posts bytes that say of themselves that they are JSON.
    #[must_use]
    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Answer {
        self.must("POST", path, Some(body))
    }

    /// Posts nothing.
    #[must_use]
    pub fn post_empty(&self, path: &str) -> Answer {
        self.must("POST", path, None)
    }

    /// Deletes.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.must("DELETE", path, None)
    }

    /// Runs a program in a sandbox of its own (`POST /execute`).
    #[must_use]
    pub fn execute(&self, program: &Value) -> Run {
        Run::of(&self.post("/execute", program))
    }

    /// The same with nothing but code.
    #[must_use]
    pub fn execute_code(&self, runtime: &str, code: &str) -> Run {
        self.execute(&json!({"runtime": runtime, "code": code}))
    }

    /// Creates a sandbox and returns its id.
    #[must_use]
    pub fn create(&self, program: &Value) -> String {
        let sandbox = self.post("/sandbox", program).ok();
        assert_eq!(sandbox["status"], "created", "{sandbox}");
        sandbox["id"].as_str().expect("an id").to_owned()
    }

    /// Runs the program of a sandbox.
    #[must_use]
    pub fn run(&self, id: &str) -> Run {
        Run::of(&self.post_empty(&format!("/sandbox/{id}/execute")))
    }

    /// The status word of a sandbox.
    #[must_use]
    pub fn status(&self, id: &str) -> String {
        self.get(&format!("/sandbox/{id}")).ok()["status"].as_str().expect("a word").to_owned()
    }

    /// Deletes a sandbox.
    pub fn remove(&self, id: &str) {
        assert_eq!(self.delete(&format!("/sandbox/{id}")).status, 204, "delete {id}");
    }
}
