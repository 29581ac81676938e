//! Volumes when a server, or its host, goes down; and sandboxes that are launched once more.

use std::process::Command;

use blackbox::{Client, Server};
use serde_json::{Value, json};

use super::{complaint, delete, folders, host::Folders, host::host, named, names, output, sandbox, with};
use crate::{opensandbox::request, recovery::reboot::power_cut};

/// A client for whom everything is to be seen.
fn administrator(server: &Server) -> Client {
    server.with_header("OPEN-SANDBOX-API-KEY", &server.key_create(&["--admin"]).text)
}

fn at(name: &str, path: &str) -> Value {
    json!({"name": name, "pvc": {"claimName": name}, "mountPath": path})
}

#[test]
fn volumes_are_there_when_a_server_was_killed() {
    let allowed = Folders::new();
    let (mut server, client) = allowed.serve();
    let own = json!({"pvc": {"claimName": "own", "deleteOnSandboxTermination": true}});
    let volumes =
        [at("kept", "/kept"), with(named("own"), &own), with(host(&allowed.path("work")), &json!({}))];
    // Two with the same names at the same places would be refused: `data` is the only one of the second's.
    let id = sandbox(&client, &volumes);
    assert_eq!(output(&client, &id, "tee /kept/file /data/file /host/file <<< before"), ["before"]);
    server.kill();
    server.start_again();
    let client = administrator(&server);
    assert_eq!(output(&client, &id, "cat /kept/file /data/file /host/file"), ["before"; 3]);
    assert_eq!((names(&client), folders(&server)), (vec!["kept".to_owned(), "own".to_owned()], 2));
    delete(&client, &id);
    assert_eq!((names(&client), folders(&server)), (vec!["kept".to_owned()], 1));
}

#[test]
fn half_made_and_unknown_volumes_go_with_the_next_start() {
    let (mut server, client) = crate::opensandbox::start();
    let id = sandbox(&client, &[at("kept", "/kept"), at("lost", "/lost")]);
    delete(&client, &id);
    let listed = client.get("/v1/volumes").ok();
    let lost = listed["items"][1]["id"].as_str().unwrap().to_owned();
    server.kill();
    let place = server.data().join("storage/volumes");
    let subvolume = |what: &str, name: &str| {
        let mut btrfs = Command::new("btrfs");
        let done = btrfs.args(["-q", "subvolume", what]).arg(place.join(name)).status();
        assert!(done.expect("btrfs-progs are installed").success(), "{what} {name}");
    };
    subvolume("create", "01234567-89ab-4cde-8f01-23456789abcd");
    subvolume("create", "11234567-89ab-4cde-8f01-23456789abcd.new");
    subvolume("delete", &lost);
    server.start_again();
    assert_eq!((names(&administrator(&server)), folders(&server)), (vec!["kept".to_owned()], 1));
}

#[test]
fn volumes_are_there_when_the_host_was_restarted() {
    let (mut server, client) = crate::opensandbox::start();
    let id = sandbox(&client, &[named("kept")]);
    assert_eq!(output(&client, &id, "echo kept > /data/file; sync -f /data"), [""; 0]);
    power_cut(&mut server);
    server.start_again();
    let client = administrator(&server);
    assert_eq!(names(&client), ["kept"]);
    let file = std::fs::read_dir(server.data().join("storage/volumes")).unwrap().next().unwrap().unwrap();
    assert_eq!(std::fs::read_to_string(file.path().join("file")).unwrap(), "kept\n");
}

#[test]
fn a_new_database_does_not_cost_the_volumes_of_another() {
    let (mut server, client) = crate::opensandbox::start();
    delete(&client, &sandbox(&client, &[named("kept")]));
    server.stop();
    let (database, aside) = (server.data().join("server/atoll.db"), server.data().join("server/aside"));
    std::fs::rename(&database, &aside).unwrap();
    // One that starts all the same must not keep the test waiting.
    let mut serve = Command::new("timeout");
    serve.arg("60").arg(blackbox::atoll()).args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--no-toolchain-install",
    ]);
    let refused = serve.arg("--data-dir").arg(server.data()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("storage has 1 volumes"), "{said}");
    for ending in ["", "-wal", "-shm"] {
        let left = server.data().join(format!("server/atoll.db{ending}"));
        assert!(!left.exists() || std::fs::remove_file(left).is_ok());
    }
    std::fs::rename(&aside, &database).unwrap();
    server.start_again();
    assert_eq!((names(&administrator(&server)), folders(&server)), (vec!["kept".to_owned()], 1));
}

#[test]
fn whoever_is_launched_again_has_its_volumes_again() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = administrator(&server);
    let own = json!({"pvc": {"claimName": "own", "deleteOnSandboxTermination": true}});
    let read_only = with(at("read", "/read"), &json!({"readOnly": true}));
    let id = sandbox(&client, &[with(named("own"), &own), read_only]);
    assert_eq!(output(&client, &id, "echo first > /data/file; echo first > /root/file"), [""; 0]);
    let path = format!("/admin/api/sandboxes/{id}");
    let taken = client.post(&format!("{path}/snapshots"), &json!({"name": "first"}));
    assert_eq!(taken.status, 201, "{}", taken.text);
    assert_eq!(output(&client, &id, "tee /data/file /root/file <<< second"), ["second"]);
    let taken = taken.json()["id"].as_str().unwrap().to_owned();
    let restored = client.post_empty(&format!("{path}/snapshots/{taken}/restore"));
    assert_eq!(restored.status, 204, "{}", restored.text);
    // The sandbox went back, what it shares did not.
    assert_eq!(output(&client, &id, "cat /data/file /root/file"), ["second", "first"]);
    complaint(&client, &id, "touch /read/file");

    let forked = client.post(&format!("{path}/fork"), &json!({"count": 2}));
    assert_eq!(forked.status, 201, "{}", forked.text);
    let forks = forked.json();
    let forks: Vec<&str> =
        forks.as_array().unwrap().iter().map(|fork| fork["id"].as_str().unwrap()).collect();
    for (number, fork) in forks.iter().enumerate() {
        let text = format!("cat /data/file /root/file; echo {number} > /data/{number}");
        assert_eq!(output(&client, fork, &text), ["second", "first"]);
        complaint(&client, fork, "touch /read/file");
    }
    assert_eq!(output(&client, &id, "cd /data; ls; cat 0 1"), ["0", "1", "file", "0", "1"]);
    // It was made for them all: the last takes it along.
    delete(&client, &id);
    delete(&client, forks[0]);
    assert_eq!(names(&client), ["own", "read"]);
    delete(&client, forks[1]);
    assert_eq!(names(&client), ["read"]);
    assert_eq!(client.delete("/v1/volumes/read").status, 204);
    server.nothing_left(&before);
}

#[test]
fn a_folder_that_is_gone_costs_a_sandbox_none_of_its_files() {
    let allowed = Folders::new();
    let (server, _) = allowed.serve();
    let client = administrator(&server);
    let id = sandbox(&client, &[host(&allowed.path("work"))]);
    assert_eq!(output(&client, &id, "echo own > /root/file"), [""; 0]);
    let path = format!("/admin/api/sandboxes/{id}/snapshots");
    let taken = client.post(&path, &json!({"name": "one"})).json()["id"].as_str().unwrap().to_owned();
    let restore = || client.post_empty(&format!("{path}/{taken}/restore"));
    std::fs::rename(allowed.path("work"), allowed.path("elsewhere")).unwrap();
    let refused = restore();
    assert!(refused.status >= 400 && refused.text.contains("is not there"), "{}", refused.text);
    std::fs::rename(allowed.path("elsewhere"), allowed.path("work")).unwrap();
    assert_eq!(restore().status, 204);
    assert_eq!(output(&client, &id, "cat /root/file; touch /host/again"), ["own"]);
    let refused = client.post("/v1/sandboxes", &request(&json!({"volumes": [host(&allowed.path("gone"))]})));
    assert_eq!(refused.status, 400, "{}", refused.text);
}
