//! Where volumes are mounted: only where the client said, whatever a hostile snapshot has put there.

use serde_json::{Value, json};

use super::{complaint, error, keyed, named, names, output, sandbox, with};
use crate::opensandbox::{create, request, start};

#[test]
fn volumes_lie_within_each_other_in_any_order() {
    let (_server, client) = start();
    let at = |name: &str, path: &str| json!({"name": name, "pvc": {"claimName": name}, "mountPath": path});
    let id =
        sandbox(&client, &[at("c", "/a/b/c"), at("a", "/a"), at("b", "/usr/local/b"), at("w", "/sandbox")]);
    let places =
        "stat -c %d /a /a/b/c /usr/local/b /sandbox / /usr | sort -u | wc -l; pwd; touch here; ls /sandbox";
    assert_eq!(output(&client, &id, places), ["6", "/sandbox", "here"]);
    let outer = sandbox(&client, &[at("a", "/a")]);
    assert_eq!(output(&client, &outer, "cd /a; find . | sort"), [".", "./b", "./b/c"]);
    // What is missing can't be made where nothing can be written.
    let read_only = with(at("empty", "/a"), &json!({"readOnly": true}));
    let (code, _) = super::refusal(&client, &[read_only, at("c", "/a/b/c")]);
    assert_eq!(code, "VOLUME::INVALID_MOUNT_PATH");
}

#[test]
fn links_that_a_snapshot_has_planted_lead_nowhere() {
    let server = blackbox::Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let id = create(&client, &json!({}));
    let plant = "ln -s /etc /system; ln -s /proc/self /self; ln -s /tmp /here; mkdir /dir; ln -s /usr /dir/usr; \
                 echo > /plain; mkdir -p /real";
    assert_eq!(output(&client, &id, plant), [""; 0]);
    let taken = client.post(&format!("/v1/sandboxes/{id}/snapshots"), &json!({})).json();
    let mut body = request(&json!({"snapshotId": taken["id"]}));
    body.as_object_mut().unwrap().remove("image");
    let at = |path: &str| with(named("goal"), &json!({"mountPath": path}));
    let mut made_with = |path: &str| {
        body["volumes"] = Value::from(vec![at(path)]);
        client.post("/v1/sandboxes", &body)
    };
    for path in [
        "/system",
        "/system/ssl",
        "/self/fd",
        "/here",
        "/here/x",
        "/dir/usr",
        "/dir/usr/x",
        "/plain",
        "/plain/x",
    ] {
        let (code, text) = error(&made_with(path), 400);
        assert_eq!(code, "VOLUME::INVALID_MOUNT_PATH", "{path}: {text}");
        assert!(text.contains(path), "{text}");
    }
    assert_eq!(names(&client), [""; 0]);
    let made = made_with("/real").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &made, "touch /real/x; ls /etc/ssl > /dev/null; ls /real"), ["x"]);
    for gone in [&made, &id] {
        super::delete(&client, gone);
    }
    assert_eq!(client.delete(&format!("/v1/snapshots/{}", taken["id"].as_str().unwrap())).status, 204);
    assert_eq!(client.delete("/v1/volumes/goal").status, 204);
    server.nothing_left(&before);
}

#[test]
fn the_systems_own_places_are_closed() {
    let (_server, client) = start();
    for path in [
        "/",
        "/etc",
        "/etc/ssl",
        "/proc",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
        "/dev",
        "/dev/shm",
        "/usr",
        "/bin",
        "/lib",
        "/tmp",
        "/opt",
        "/opt/atoll",
        "/opt/atoll/toolchains/node",
        "//etc",
        "/./etc/",
        "/x/../etc",
    ] {
        let (code, text) = super::refusal(&client, &[with(named("x"), &json!({"mountPath": path}))]);
        assert_eq!(code, "VOLUME::INVALID_MOUNT_PATH", "{path}: {text}");
    }
    assert_eq!(names(&client), [""; 0]);
    let id = sandbox(&client, &[with(named("x"), &json!({"mountPath": "/tmp/x/"}))]);
    complaint(&client, &id, "umount /tmp/x");
}
