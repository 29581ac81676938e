//! Volumes that can't be had: a 400 with the code that the original has for it, and nothing is made.

use serde_json::{Value, json};

use super::{error, named, names, refusal, with};
use crate::opensandbox::{request, start};

#[test]
fn each_mistake_has_its_code() {
    let (_server, client) = start();
    let host = |path: &str| json!({"name": "data", "host": {"path": path}, "mountPath": "/data"});
    let claim = |name: &str| json!({"pvc": {"claimName": name}});
    let long = |length: usize| "x".repeat(length);
    let volume = |fields: Value| with(named("x"), &fields);
    for (code, volume) in [
        ("INVALID_NAME", volume(json!({"name": ""}))),
        ("INVALID_NAME", volume(json!({"name": "Data"}))),
        ("INVALID_NAME", volume(json!({"name": "-a"}))),
        ("INVALID_NAME", volume(json!({"name": "a-"}))),
        ("INVALID_NAME", volume(json!({"name": "a.b"}))),
        ("INVALID_NAME", volume(json!({"name": long(64)}))),
        ("INVALID_BACKEND", json!({"name": "data", "mountPath": "/data"})),
        ("INVALID_BACKEND", volume(json!({"pvc": null}))),
        ("INVALID_BACKEND", volume(json!({"host": {"path": "/srv"}}))),
        ("INVALID_BACKEND", volume(json!({"ossfs": {}}))),
        ("UNSUPPORTED_BACKEND", volume(json!({"pvc": null, "ossfs": {"bucket": "abc"}}))),
        ("INVALID_PVC_NAME", volume(claim(""))),
        ("INVALID_PVC_NAME", volume(claim("a/b"))),
        ("INVALID_PVC_NAME", volume(claim(".."))),
        ("INVALID_PVC_NAME", volume(claim("A"))),
        ("INVALID_PVC_NAME", volume(claim(&long(254)))),
        ("PVC_NOT_FOUND", volume(json!({"pvc": {"claimName": "x", "createIfNotExists": false}}))),
        ("INVALID_MOUNT_PATH", volume(json!({"mountPath": ""}))),
        ("INVALID_MOUNT_PATH", volume(json!({"mountPath": "data"}))),
        ("INVALID_MOUNT_PATH", volume(json!({"mountPath": "/a/../b"}))),
        ("INVALID_MOUNT_PATH", volume(json!({"mountPath": "/a\0b"}))),
        ("INVALID_MOUNT_PATH", volume(json!({"mountPath": format!("/{}", long(256))}))),
        ("INVALID_SUB_PATH", volume(json!({"subPath": "/a"}))),
        ("INVALID_SUB_PATH", volume(json!({"subPath": ".."}))),
        ("INVALID_SUB_PATH", volume(json!({"subPath": "a/../b"}))),
        ("INVALID_SUB_PATH", volume(json!({"subPath": "a\0"}))),
        ("INVALID_SUB_PATH", volume(json!({"subPath": long(256)}))),
        ("INVALID_HOST_PATH", host("")),
        ("INVALID_HOST_PATH", host("srv/data")),
        ("INVALID_HOST_PATH", host("C:\\data")),
        ("INVALID_HOST_PATH", host("/srv/../etc")),
        ("INVALID_HOST_PATH", host("/srv//data")),
        ("INVALID_HOST_PATH", host("/srv/data/")),
        ("INVALID_HOST_PATH", host("/srv/./data")),
        ("HOST_PATH_NOT_ALLOWED", host("/etc")),
        ("HOST_PATH_NOT_ALLOWED", host("/")),
    ] {
        let (found, text) = refusal(&client, std::slice::from_ref(&volume));
        assert_eq!(found, format!("VOLUME::{code}"), "{volume}: {text}");
    }
    let other = |fields: Value| with(volume(json!({"name": "other", "mountPath": "/other"})), &fields);
    let twice = |fields: Value| refusal(&client, &[named("x"), other(fields)]).0;
    assert_eq!(twice(json!({"name": "data"})), "VOLUME::DUPLICATE_NAME");
    assert_eq!(twice(json!({"mountPath": "/data/"})), "VOLUME::INVALID_MOUNT_PATH");
    assert_eq!(names(&client), [""; 0]);
}

#[test]
fn what_is_no_volume_at_all_is_refused_with_its_place() {
    let (server, client) = start();
    let volumes = |volumes: Value| client.post("/v1/sandboxes", &request(&json!({"volumes": volumes})));
    for wrong in [
        json!("data"),
        json!({}),
        json!(["data"]),
        json!([{"name": "x"}]),
        json!([with(named("x"), &json!({"mountPath": 5}))]),
        json!([with(named("x"), &json!({"readonly": true}))]),
        json!([with(named("x"), &json!({"pvc": {"claimName": "x", "size": 1}}))]),
        json!([with(named("x"), &json!({"pvc": {"claimName": "x", "storage": "many"}}))]),
        json!([with(named("x"), &json!({"pvc": {"claimName": "x", "storage": "1Ki"}}))]),
        json!([with(named("x"), &json!({"pvc": {"claimName": "x", "storage": "4Ei"}}))]),
    ] {
        let (code, _) = error(&volumes(wrong.clone()), 400);
        assert_eq!(code, "INVALID_REQUEST", "{wrong}");
    }
    let many = |count: usize| -> Value {
        let at = |number| json!({"name": format!("v{number}"), "mountPath": format!("/v/{number}")});
        (0..count).map(|number| with(named("x"), &at(number))).collect()
    };
    error(&volumes(many(17)), 400);
    error(&volumes(many(20_000)), 400);
    let launcher = server.launcher_pid();
    let long = vec!["x".repeat(255); 15].join("/");
    let deep: Value = (0..16)
        .map(|number| json!({"name": format!("v{number}"), "mountPath": format!("/{number}/{long}"), "subPath": long}))
        .map(|fields| with(named("x"), &fields))
        .collect();
    error(&volumes(deep), 400);
    for far in ["name", "mountPath", "subPath", "pvc", "host"] {
        let long = "x".repeat(100_000);
        let field = match far {
            "pvc" => json!({"claimName": long}),
            "host" => json!({"path": format!("/{long}")}),
            _ => json!(long),
        };
        let mut volume = with(named("x"), &json!({far: field}));
        if far == "host" {
            volume["pvc"] = Value::Null;
        }
        let (_, text) = error(&volumes(json!([volume])), 400);
        assert!(text.len() < 500, "what is refused is not repeated at length: {text}");
    }
    assert_eq!(server.launcher_pid(), launcher, "no request was too large for the launcher");
    assert_eq!(names(&client), [""; 0]);
    assert_eq!(volumes(many(16)).status, 202);
    for none in [json!(null), json!([])] {
        assert_eq!(volumes(none).status, 202);
    }
}
