//! Sandboxes are made, found, labelled, renewed and deleted.

use blackbox::{Client, Server, deadline::wait_until};
use serde_json::{Value, json};

use super::{create, create_with, error, get, keyed, output, start, state};

#[test]
fn a_sandbox_is_what_was_asked_for_until_it_is_deleted() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let fields = json!({
        "env": {"GREETING": "hello world", "EMPTY": null},
        "metadata": {"team": "ml", "example.com/part": "a-1"},
        "resourceLimits": {"cpu": "500m", "memory": "256Mi", "disk": "100Mi", "pids": "50"},
        "platform": {"os": "linux", "arch": "amd64"},
    });
    let made = create_with(&client, &fields);
    let id = made["id"].as_str().unwrap();
    assert!(made.get("image").is_none(), "{made}");
    let found = get(&client, id);
    assert_eq!(found["image"], json!({"uri": "host"}));
    assert_eq!(found["entrypoint"], json!(["tail", "-f", "/dev/null"]));
    assert_eq!(found["metadata"], fields["metadata"]);
    assert_eq!(found["platform"], fields["platform"]);
    assert_eq!(found["status"]["state"], "Running");
    assert!(found.get("snapshotId").is_none() && found["expiresAt"].is_string(), "{found}");

    let said = output(
        &client,
        id,
        "echo $GREETING; echo \"[$EMPTY]\"; pwd; ps -e -o args= | grep -c '^tail -f /dev/null'",
    );
    assert_eq!(said, ["hello world", "[]", "/sandbox", "1"]);
    let metrics = client.get(&super::execd(id, "/metrics")).ok();
    assert_eq!((&metrics["cpu_count"], &metrics["mem_total_mib"]), (&json!(0.5), &json!(256.0)), "{metrics}");
    // The disk limit holds.
    let full = super::events(&client, id, "head -c 200M /dev/zero > big");
    assert_eq!(full.last().unwrap()["type"], "error", "{full:?}");

    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    let (code, message) = error(&client.get(&format!("/v1/sandboxes/{id}")), 404);
    assert!(code == "NOT_FOUND" && message.contains(id), "{message}");
    error(&client.delete(&format!("/v1/sandboxes/{id}")), 404);
    server.nothing_left(&before);
}

#[test]
fn without_a_time_out_there_is_no_end() {
    let (_server, client) = start();
    let id = create(&client, &json!({"timeout": null}));
    assert!(get(&client, &id).get("expiresAt").is_none());
    let renewal = json!({"expiresAt": "2100-01-01T00:00:00Z"});
    error(&client.post(&format!("/v1/sandboxes/{id}/renew-expiration"), &renewal), 409);
}

#[test]
fn a_time_out_is_renewed_and_ends_the_sandbox() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    let renew = |until: &str| {
        client.post(&format!("/v1/sandboxes/{id}/renew-expiration"), &json!({"expiresAt": until}))
    };
    let far = renew("2100-01-01T01:00:00+01:00").ok();
    assert_eq!(far, json!({"expiresAt": "2100-01-01T00:00:00.000Z"}));
    assert_eq!(get(&client, &id)["expiresAt"], far["expiresAt"]);
    for wrong in ["2020-01-01T00:00:00Z", "tomorrow", ""] {
        let (code, message) = error(&renew(wrong), 400);
        assert!(code == "INVALID_REQUEST" && message.starts_with("expiresAt: "), "{message}");
    }
    let soon = jiff_soon();
    assert!(renew(&soon).ok()["expiresAt"].is_string());
    wait_until("its time is over", || state(&client, &id) == "Terminated");
    assert_eq!(get(&client, &id)["status"]["reason"], "ttl_expiry");
    wait_until("nothing of it runs", || server.traces().programs().is_empty());
    error(&renew("2100-01-01T00:00:00Z"), 409);
}

/// A moment that is nearly now, as a client writes it.
fn jiff_soon() -> String {
    let at = std::time::SystemTime::now() + std::time::Duration::from_millis(1500);
    let seconds = at.duration_since(std::time::UNIX_EPOCH).unwrap();
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{}.{:03}", seconds.as_secs(), seconds.subsec_millis()), "+%FT%T.%3NZ"])
        .output()
        .unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

fn list(client: &Client, query: &str) -> Value {
    client.get(&format!("/v1/sandboxes{query}")).ok()
}

#[test]
fn lists_are_filtered_and_paged() {
    let (server, client) = start();
    let made: Vec<String> = ["red", "green", "red"]
        .map(|color| create(&client, &json!({"metadata": {"color": color, "kind": "a"}})))
        .to_vec();
    let other = keyed(&server);
    create(&other, &json!({}));
    assert_eq!(client.post_empty(&format!("/v1/sandboxes/{}/pause", made[1])).status, 202);

    let all = list(&client, "");
    assert_eq!(ids(&all), [&made[2], &made[1], &made[0]]);
    let expected = json!({"page": 1, "pageSize": 20, "totalItems": 3, "totalPages": 1, "hasNextPage": false});
    assert_eq!(all["pagination"], expected);
    assert_eq!(ids(&list(&client, "?state=paused")), [&made[1]]);
    assert_eq!(ids(&list(&client, "?state=Running&state=PAUSED")).len(), 3);
    assert_eq!(ids(&list(&client, "?state=Failed")), [""; 0]);
    assert_eq!(ids(&list(&client, "?metadata=color%3Dred%26kind%3Da")), [&made[2], &made[0]]);
    assert_eq!(ids(&list(&client, "?metadata=color%3Dred%26kind%3Db")), [""; 0]);
    let second = list(&client, "?pageSize=2&page=2");
    assert_eq!(ids(&second), [&made[0]]);
    let expected = json!({"page": 2, "pageSize": 2, "totalItems": 3, "totalPages": 2, "hasNextPage": false});
    assert_eq!(second["pagination"], expected);
    assert_eq!(list(&client, "?pageSize=2")["pagination"]["hasNextPage"], true);
    assert_eq!(ids(&list(&other, "")).len(), 1);
}

#[test]
fn labels_are_changed_by_a_merge_patch() {
    let (server, client) = start();
    let id = create(&client, &json!({"metadata": {"a": "1", "b": "2"}}));
    let patch = |body: Value| {
        let path = format!("/v1/sandboxes/{id}/metadata");
        client.send("PATCH", &path, Some(body.to_string().as_bytes())).unwrap()
    };
    assert_eq!(
        patch(json!({"b": null, "c": "3", "nothing": null})).ok()["metadata"],
        json!({"a": "1", "c": "3"})
    );
    assert_eq!(patch(json!({})).ok()["metadata"], json!({"a": "1", "c": "3"}));
    for wrong in [json!({"opensandbox.io/x": "1"}), json!({"a b": "1"}), json!({"a": "é"}), json!({"a": 1})]
    {
        error(&patch(wrong), 400);
    }
    assert_eq!(get(&client, &id)["metadata"], json!({"a": "1", "c": "3"}));
    error(&keyed(&server).send("PATCH", &format!("/v1/sandboxes/{id}/metadata"), Some(b"{}")).unwrap(), 404);
}

#[test]
fn what_happened_can_be_read() {
    let (_server, client) = start();
    let id = create(&client, &json!({"entrypoint": ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"]}));
    let read = |what: &str| client.get(&format!("/v1/sandboxes/{id}/diagnostics/{what}"));
    wait_until("both lines are there", || {
        let text = read("logs?scope=container").ok()["content"].as_str().unwrap().to_owned();
        text.contains(" stdout one\n") && text.contains(" stderr two\n")
    });
    let logs = read("logs?scope=all").ok();
    let expected = json!([id, "logs", "all", "inline", false]);
    let given = json!([logs["sandboxId"], logs["kind"], logs["scope"], logs["delivery"], logs["truncated"]]);
    assert_eq!(given, expected);
    let events = read("events?scope=lifecycle").ok();
    let content = events["content"].as_str().unwrap();
    assert!(content.contains("sandbox.created") && content.contains("sandbox.launched"), "{content}");
    for wrong in ["logs?scope=nothing", "events?scope=container", "logs?tail=0"] {
        error(&read(wrong), 400);
    }
    assert!(read("logs?tail=1").text.trim_end().ends_with("two"));
    let summary = read("summary").text;
    assert!(summary.contains("sandbox.created") && summary.contains("stdout one"), "{summary}");
}

#[test]
fn the_server_says_what_it_is() {
    let (server, client) = start();
    assert_eq!(server.get("/v1/health").ok(), json!({"status": "healthy"}));
    assert!(server.get("/version").ok()["version"].is_string());
    let told =
        json!({"eventType": "sandbox.create", "createDurationMs": 12, "success": true, "image": "host"});
    assert_eq!(client.post("/v1/metrics/events", &told).status, 204);
    for (field, value) in
        [("eventType", json!("x")), ("createDurationMs", json!(-1)), ("success", json!("yes"))]
    {
        let mut wrong = told.clone();
        wrong[field] = value;
        error(&client.post("/v1/metrics/events", &wrong), 400);
    }
    error(&server.post("/v1/metrics/events", &told), 401);
}
