//! A sandbox of the lifecycle API with a network policy, and what programs in it reach.

use std::collections::BTreeMap;

use blackbox::Client;
use serde_json::{Value, json};

/// What programs in it have to hand.
const REACH: &str = include_str!("reach.py");

/// A sandbox.
pub(super) struct Sandbox {
    client: Client,
    pub(super) id: String,
}

impl Sandbox {
    /// Makes one, with a policy if that is not null.
    pub(super) fn create(client: &Client, policy: &Value) -> Self {
        let mut body = json!({
            "image": {"uri": "host"}, "timeout": 600, "resourceLimits": {"memory": "256Mi"},
            "entrypoint": ["tail", "-f", "/dev/null"],
        });
        if !policy.is_null() {
            body["networkPolicy"] = policy.clone();
        }
        let made = client.post("/v1/sandboxes", &body);
        assert_eq!(made.status, 202, "{}", made.text);
        Self { client: client.clone(), id: made.json()["id"].as_str().unwrap().to_owned() }
    }

    /// The same sandbox for a client of another server.
    pub(super) fn seen_by(&self, client: &Client) -> Self {
        Self { client: client.clone(), id: self.id.clone() }
    }

    /// Runs Python in it, with what `reach.py` has. Gives what `report` said: names, and what came of them.
    pub(super) fn reach(&self, code: &str) -> BTreeMap<String, String> {
        let output = self.run(code);
        let lines = output.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{output}")));
        lines.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
    }

    /// Runs Python in it that ends well, and gives its output.
    pub(super) fn run(&self, code: &str) -> String {
        let code = format!("{REACH}\n{code}");
        let path = format!("/v1/sandboxes/{}/proxy/44772/command", self.id);
        let answer = self.client.post(&path, &json!({"argv": ["python3", "-c", code]}));
        assert_eq!(answer.status, 200, "{}", answer.text);
        let events: Vec<Value> = answer
            .text
            .split("\n\n")
            .filter(|event| !event.trim().is_empty())
            .map(|event| serde_json::from_str(event).unwrap_or_else(|_| panic!("{event}")))
            .collect();
        assert_eq!(events.last().unwrap()["type"], "execution_complete", "{}", answer.text);
        let lines = events.iter().filter(|event| event["type"] == "stdout");
        lines.map(|event| event["text"].as_str().unwrap().to_owned() + "\n").collect()
    }

    /// Starts Python in it that goes on, and gives nothing.
    pub(super) fn start(&self, code: &str) {
        let code = format!("{REACH}\n{code}");
        let path = format!("/v1/sandboxes/{}/proxy/44772/command", self.id);
        let body = json!({"argv": ["python3", "-c", code], "background": true});
        let answer = self.client.post(&path, &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// Asks for its policy, or for a change of it.
    pub(super) fn policy(&self, method: &str, body: Option<&Value>) -> blackbox::Answer {
        let path = format!("/v1/sandboxes/{}/networkpolicy", self.id);
        let body = body.map(Value::to_string);
        self.client.send(method, &path, body.as_deref().map(str::as_bytes)).unwrap()
    }

    /// Changes its policy.
    #[track_caller]
    pub(super) fn policy_change(&self, method: &str, body: &Value) -> Value {
        let answer = self.policy(method, Some(body));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    pub(super) fn delete(&self) {
        let answer = self.client.delete(&format!("/v1/sandboxes/{}", self.id));
        assert_eq!(answer.status, 204, "{}", answer.text);
    }
}

/// A policy that allows these and nothing else.
pub(super) fn allowing(targets: &[&str]) -> Value {
    let rules: Vec<Value> = targets.iter().map(|target| rule("allow", target)).collect();
    json!({"defaultAction": "deny", "egress": rules})
}

/// A policy that denies these and nothing else.
pub(super) fn denying(targets: &[&str]) -> Value {
    let rules: Vec<Value> = targets.iter().map(|target| rule("deny", target)).collect();
    json!({"defaultAction": "allow", "egress": rules})
}

pub(super) fn rule(action: &str, target: &str) -> Value {
    json!({"action": action, "target": target})
}

/// Lines of Python that try to reach each address in every way, one report for each.
pub(super) fn every_way(address: &str) -> String {
    format!(
        "report('tcp', lambda: greeted('{address}'))\nreport('udp', lambda: echoed('{address}'))\n\
         report('icmp', lambda: pinged('{address}'))\n"
    )
}

/// What comes of that where a rule refuses it.
#[track_caller]
pub(super) fn refused(outcomes: &BTreeMap<String, String>) {
    assert!(!outcomes.is_empty());
    assert!(outcomes.values().all(|outcome| outcome == "EHOSTUNREACH"), "{outcomes:?}");
}
