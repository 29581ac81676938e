//! What is refused, with the API's form of errors and the field by its name.

use serde_json::{Value, json};

use super::{create, error, keyed, request, start};

#[test]
fn a_wrong_request_names_its_field() {
    let (_server, client) = start();
    let limits = |name: &str, value: &str| json!({"resourceLimits": {name: value}});
    for (fields, word) in [
        (json!({"image": null}), "image"),
        (json!({"snapshotId": "c0ffee00-0000-4000-8000-000000000001"}), "image"),
        (json!({"image": {"uri": ""}}), "image.uri"),
        (json!({"image": {}}), "image"),
        (json!({"image": "host"}), "image"),
        (json!({"entrypoint": null}), "entrypoint"),
        (json!({"entrypoint": []}), "entrypoint"),
        (json!({"entrypoint": [""]}), "entrypoint"),
        (json!({"entrypoint": ["a\u{0}b"]}), "entrypoint"),
        (json!({"entrypoint": "tail"}), "entrypoint"),
        (json!({"timeout": 59}), "timeout"),
        (json!({"timeout": -1}), "timeout"),
        (json!({"timeout": 1.5}), "timeout"),
        (json!({"timeout": "600"}), "timeout"),
        (json!({"resourceLimits": null}), "resourceLimits"),
        (limits("cpu", "much"), "resourceLimits.cpu"),
        (limits("cpu", "-1"), "resourceLimits.cpu"),
        (limits("memory", "1GiB"), "resourceLimits.memory"),
        (limits("memory", "1e400"), "resourceLimits.memory"),
        (limits("memory", "1Ei"), "memory"),
        (limits("memory", "1Ki"), "memory"),
        (limits("cpu", "0"), "cpu"),
        (limits("gpu", "1"), "resourceLimits.gpu"),
        (limits("tpu", "1"), "resourceLimits.tpu"),
        (json!({"env": {"A=B": "1"}}), "env"),
        (json!({"env": {"": "1"}}), "env"),
        (json!({"env": {"A": "\u{0}"}}), "env"),
        (json!({"env": []}), "env"),
        (json!({"metadata": {"opensandbox.io/a": "1"}}), "metadata"),
        (json!({"metadata": {"-a": "1"}}), "metadata"),
        (json!({"metadata": {"a": "b c"}}), "metadata"),
        (json!({"platform": {"os": "windows", "arch": "amd64"}}), "platform"),
        (json!({"platform": {"os": "linux", "arch": "arm64"}}), "platform"),
        (json!({"extensions": {"idle.pause.seconds": "0"}}), "extensions.idle.pause.seconds"),
        (
            json!({"extensions": {"access.renew.extend.seconds": "299"}}),
            "extensions.access.renew.extend.seconds",
        ),
        (
            json!({"extensions": {"access.renew.extend.seconds": "soon"}}),
            "extensions.access.renew.extend.seconds",
        ),
        (json!({"lifecycle": {"preStart": {"command": "true"}}}), "lifecycle"),
        (
            json!({"volumes": [{"name": "a", "mountPath": "/a", "pvc": {"claimName": "a", "storage": "much"}}]}),
            "volumes.pvc.storage",
        ),
        (json!({"image": {"uri": "python:3.11"}}), "image.uri"),
        (json!({"networkPolicy": {"defaultAction": "perhaps"}}), "networkPolicy"),
        (json!({"credentialProxy": {"enabled": true}}), "credentialProxy"),
    ] {
        let (code, message) = error(&client.post("/v1/sandboxes", &request(&fields)), 400);
        assert_eq!(code, "INVALID_REQUEST", "{fields}");
        assert!(message.contains(word), "{fields}: {message}");
    }
    for body in ["", "{", "[]", "null", "\"x\""] {
        assert_eq!(error(&client.post_bytes("/v1/sandboxes", body.as_bytes()), 400).0, "INVALID_REQUEST");
    }
    assert_eq!(client.get("/v1/sandboxes").ok()["pagination"]["totalItems"], 0);
}

#[test]
fn lists_refuse_wrong_pages() {
    let (_server, client) = start();
    for path in ["/v1/sandboxes", "/v1/snapshots"] {
        for query in ["page=0", "page=x", "pageSize=0", "pageSize=201", "pageSize=-1"] {
            let (_, message) = error(&client.get(&format!("{path}?{query}")), 400);
            assert!(message.starts_with("page"), "{message}");
        }
    }
}

#[test]
fn nobody_gets_in_without_a_key() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    let wrong =
        server.with_header("OPEN-SANDBOX-API-KEY", "ws_000000000000000000000000000000000000000000000000");
    let path = |rest: &str| format!("/v1/sandboxes/{id}{rest}");
    for (method, path) in [
        ("GET", "/v1/sandboxes".to_owned()),
        ("POST", "/v1/sandboxes".to_owned()),
        ("GET", path("")),
        ("DELETE", path("")),
        ("PATCH", path("/metadata")),
        ("POST", path("/pause")),
        ("POST", path("/resume")),
        ("POST", path("/renew-expiration")),
        ("GET", path("/endpoints/44772")),
        ("POST", path("/snapshots")),
        ("GET", path("/diagnostics/logs")),
        ("GET", path("/diagnostics/events")),
        ("GET", path("/diagnostics/inspect")),
        ("GET", path("/diagnostics/summary")),
        ("GET", path("/proxy/44772/ping")),
        ("GET", path("/proxy/8000")),
        ("GET", path("/proxy/8000/")),
        ("GET", "/v1/snapshots".to_owned()),
        ("GET", "/v1/snapshots/c0ffee00-0000-4000-8000-000000000001".to_owned()),
        ("DELETE", "/v1/snapshots/c0ffee00-0000-4000-8000-000000000001".to_owned()),
        ("POST", "/v1/metrics/events".to_owned()),
        ("GET", "/v1/pools".to_owned()),
        ("GET", "/v1/templates/x".to_owned()),
    ] {
        let answer = server.send(method, &path, None).unwrap();
        assert_eq!(error(&answer, 401).0, "UNAUTHORIZED", "{method} {path}");
    }
    for path in ["/v1/sandboxes".to_owned(), path("/proxy/44772/ping")] {
        assert_eq!(error(&wrong.get(&path), 401).0, "UNAUTHORIZED", "{path}");
    }
    assert_eq!(super::state(&client, &id), "Running");
}

#[test]
fn another_keys_sandbox_is_not_there() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    let other = keyed(&server);
    for (method, rest, body) in [
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "/metadata", Some("{}")),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/renew-expiration", Some(r#"{"expiresAt": "2100-01-01T00:00:00Z"}"#)),
        ("GET", "/endpoints/44772", None),
        ("POST", "/snapshots", Some("{}")),
        ("GET", "/diagnostics/logs", None),
        ("GET", "/proxy/44772/ping", None),
    ] {
        let path = format!("/v1/sandboxes/{id}{rest}");
        let answer = other.send(method, &path, body.map(str::as_bytes)).unwrap();
        let (code, message) = error(&answer, 404);
        assert_eq!(
            (code.as_str(), message),
            ("NOT_FOUND", format!("Sandbox {id} not found")),
            "{method} {rest}"
        );
    }
    assert_eq!(super::state(&client, &id), "Running");
}

#[test]
fn what_is_not_there_is_said_in_the_same_form() {
    let (_server, client) = start();
    let (_, message) = error(&client.get("/v1/nothing"), 404);
    assert!(message.contains("/v1/nothing"), "{message}");
    let answer = client.send("PUT", "/v1/sandboxes", Some(b"{}")).unwrap();
    assert_eq!(error(&answer, 405).0, "METHOD_NOT_ALLOWED");
    assert!(answer.header("allow").unwrap().contains("POST"));
    for path in ["/v1/pools", "/v1/pools/x", "/v1/templates", "/v1/templates/x"] {
        assert_eq!(error(&client.get(path), 501).0, "NOT_IMPLEMENTED");
    }
    for fields in [json!({"extensions": {"poolRef": "x"}}), json!({"templateId": "x"})] {
        error(&client.post("/v1/sandboxes", &request(&fields)), 400);
    }
    for id in ["x", "c0ffee00-0000-4000-8000-000000000001", "%2e%2e"] {
        error(&client.get(&format!("/v1/sandboxes/{id}")), 404);
        error(&client.get(&format!("/v1/snapshots/{id}")), 404);
    }
    let mut from_nothing: Value = request(&json!({}));
    from_nothing.as_object_mut().unwrap().remove("image");
    from_nothing["snapshotId"] = json!("c0ffee00-0000-4000-8000-000000000001");
    error(&client.post("/v1/sandboxes", &from_nothing), 400);
    let id = create(&client, &json!({}));
    for port in ["0", "65536", "x", "-1", "+80", "80.0"] {
        for place in ["endpoints", "proxy"] {
            let (_, message) = error(&client.get(&format!("/v1/sandboxes/{id}/{place}/{port}")), 400);
            assert!(message.starts_with("port: "), "{message}");
        }
    }
    error(&client.get(&format!("/v1/sandboxes/{id}/endpoints/80?expires=5")), 400);
    error(&client.get(&format!("/v1/sandboxes/{id}/endpoints/80?use_server_proxy=perhaps")), 400);
}
