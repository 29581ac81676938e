//! Snapshots of sandboxes' files, restore and fork, and the trail of it all.

use blackbox::{Server, atoll, deadline::wait_until};
use serde_json::{Value, json};

fn snapshots_of(id: &str) -> String {
    format!("/admin/api/sandboxes/{id}/snapshots")
}

#[track_caller]
fn taken(server: &Server, id: &str, name: &str) -> String {
    let answer = server.post(&snapshots_of(id), &json!({"name": name}));
    assert_eq!(answer.status, 201, "{}", answer.text);
    let body = answer.json();
    assert_eq!((body["name"].as_str(), body["sandbox_id"].as_str()), (Some(name), Some(id)), "{body}");
    body["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn restore(server: &Server, id: &str, snapshot: &str) {
    let answer = server.post_empty(&format!("{}/{snapshot}/restore", snapshots_of(id)));
    assert_eq!(answer.status, 204, "{}", answer.text);
}

/// A sandbox whose program adds a line to a file and shows it.
fn counting(server: &Server) -> String {
    server.create(&json!({"runtime": "bash", "code": "echo line >> lines; cat lines"}))
}

#[test]
fn a_name_that_clients_take_out_of_a_path_is_refused() {
    let server = Server::start();
    let id = counting(&server);
    for name in [".", ".."] {
        let text = server.post(&snapshots_of(&id), &json!({"name": name})).error(400);
        assert!(text.starts_with("name: "), "{text}");
    }
}

#[test]
fn a_restore_brings_back_what_was_there() {
    let server = Server::start();
    let id = counting(&server);
    assert_eq!(server.run(&id).output(), "line\n");
    let first = taken(&server, &id, "first");
    assert_eq!(server.run(&id).output(), "line\nline\n");
    let second = taken(&server, &id, "second");
    restore(&server, &id, &first);
    assert_eq!(server.run(&id).output(), "line\nline\n");
    restore(&server, &id, &first);
    restore(&server, &id, &second);
    assert_eq!(server.run(&id).output(), "line\nline\nline\n");
    let names: Vec<_> =
        server.get(&snapshots_of(&id)).ok().as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["first", "second"], "a restore keeps both");
}

#[test]
fn wrong_requests_about_snapshots_are_refused() {
    let server = Server::start();
    let (id, other) = (counting(&server), counting(&server));
    let path = snapshots_of(&id);
    let none_yet = server.post(&path, &json!({})).error(409);
    assert!(none_yet.contains("no files yet"), "{none_yet}");
    let _ = server.run(&id);
    for name in ["", "a/b", "../x", "a b"] {
        assert!(server.post(&path, &json!({"name": name})).error(400).starts_with("name: "), "{name:?}");
    }
    let first = taken(&server, &id, "first");
    assert!(server.post(&path, &json!({"name": "first"})).error(409).contains("first"));
    assert_eq!(server.get(&path).ok().as_array().unwrap().len(), 1, "what was refused left nothing");
    let unknown = "6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11";
    let _ = server.get(&snapshots_of(unknown)).error(404);
    for (sandbox, snapshot) in [(id.as_str(), unknown), (id.as_str(), "x"), (other.as_str(), first.as_str())]
    {
        let one = format!("{}/{snapshot}", snapshots_of(sandbox));
        let _ = server.post_empty(&format!("{one}/restore")).error(404);
        let _ = server.delete(&one).error(404);
    }
    for count in [json!(0), json!(1001), json!(-1), json!("2")] {
        let fork = server.post(&format!("/admin/api/sandboxes/{id}/fork"), &json!({"count": count}));
        assert!(fork.error(400).starts_with("count: "), "{count}");
    }
}

#[test]
fn a_restore_while_the_program_runs_is_refused_and_a_snapshot_is_not() {
    let server = Server::start();
    let code = "echo 1 > f; sleep 1000";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    let snapshot = taken(&server, &id, "live");
    let refused = server.post_empty(&format!("{}/{snapshot}/restore", snapshots_of(&id))).error(409);
    assert!(refused.contains("runs"), "{refused}");
    assert_eq!(server.status(&id), "running");
}

#[test]
fn forks_have_the_files_of_their_origin_and_go_their_own_way() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let id = counting(&server);
    assert_eq!(server.run(&id).output(), "line\n");
    let answer = server.post(&format!("/admin/api/sandboxes/{id}/fork"), &json!({"count": 5}));
    assert_eq!(answer.status, 201, "{}", answer.text);
    let forks: Vec<String> =
        answer.json().as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(forks.len(), 5);
    for fork in &forks {
        assert_eq!(server.status(fork), "running");
        let _ = taken(&server, fork, "own");
    }
    assert_eq!(server.run(&id).output(), "line\nline\n", "the origin goes on");
    let storage = server.data().join("storage");
    for fork in &forks {
        let lines =
            std::fs::read_to_string(storage.join(format!("sandboxes/{fork}/root/upper/sandbox/lines")));
        assert_eq!(lines.unwrap(), "line\n");
    }
    for id in forks.iter().chain([&id]) {
        server.remove(id);
    }
    assert_eq!(std::fs::read_dir(storage.join("snapshots")).unwrap().count(), 0, "theirs went with them");
    server.nothing_left(&before);
}

#[test]
fn snapshots_outlive_a_crash_and_nothing_else_does() {
    let mut server = Server::start();
    let id = counting(&server);
    let _ = server.run(&id);
    let first = taken(&server, &id, "first");
    let _ = server.run(&id);
    server.kill();
    // As if the server had died between the snapshot and its record.
    let ghost = "0b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11";
    let folder = server.data().join("storage/snapshots");
    let layer = server.data().join(format!("storage/sandboxes/{id}"));
    // As if its launcher had died before it limited what it restored.
    let unlimited = layer.with_extension("made");
    for (kind, copy) in [("-r", folder.join(ghost)), ("", unlimited.clone())] {
        let mut copying = std::process::Command::new("btrfs");
        copying.args(["subvolume", "snapshot", kind].into_iter().filter(|word| !word.is_empty()));
        let made = copying.args([&layer, &copy]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    server.start_again();
    wait_until("the ghost is gone", || std::fs::read_dir(&folder).unwrap().count() == 1);
    assert!(!unlimited.exists(), "nor is what was being restored");
    restore(&server, &id, &first);
    assert_eq!(server.run(&id).output(), "line\nline\n");
    let gone = server.delete(&format!("{}/{first}", snapshots_of(&id)));
    assert_eq!((gone.status, std::fs::read_dir(&folder).unwrap().count()), (204, 0));
}

#[test]
fn the_trail_tells_what_happened_to_whom_and_who_did_it() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let admin = server.with_key(&server.key_create(&["--admin"]));
    let client = server.with_key(&key);
    let id = client.create(&json!({"runtime": "bash", "code": "exit 3"}));
    let _ = client.run(&id);
    let _ = admin.run(&id);
    let kinds = |events: &Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    };
    let own = client.get(&format!("/admin/api/events?sandbox={id}")).ok();
    let run = ["sandbox.ended", "sandbox.launched"];
    assert_eq!(kinds(&own), [&run[..], &run, &["sandbox.created"]].concat());
    let actor = |event: usize| own[event]["actor"].as_str().unwrap_or_default();
    assert_eq!((own[0]["detail"]["code"].as_i64(), actor(4)), (Some(3), "key:1"));
    assert_eq!((actor(1), actor(3)), ("key:2", "key:1"), "whoever asked for the run: {own}");
    client.remove(&id);
    let all = admin.get("/admin/api/events?limit=2").ok();
    assert_eq!(kinds(&all)[0], "sandbox.deleted");
    let next = admin.get(&format!("/admin/api/events?before={}", all[1]["seq"])).ok();
    assert!(next[0]["seq"].as_u64() < all[1]["seq"].as_u64(), "{next}");
    assert!(client.get("/admin/api/events").error(400).starts_with("sandbox: "));
    let _ = client.get("/admin/api/events?sandbox=6b4bdac1-7a5c-4c1b-8e7a-1f6f1f4a2c11").error(404);
    assert!(admin.get("/admin/api/events?limit=0").error(400).starts_with("limit: "));
}

/// Stops the server, and starts it as after a power cut: in another boot, and the newest rows missing.
fn power_cut(server: &mut Server) {
    server.stop();
    let code = "import sqlite3, sys\n\
                db = sqlite3.connect(sys.argv[1])\n\
                db.execute('DELETE FROM snapshots')\n\
                db.execute(\"UPDATE facts SET value = 'another' WHERE name = 'boot'\")\n\
                db.commit()\n";
    let database = server.data().join("server/atoll.db");
    let done = std::process::Command::new("setpriv")
        .args(["--reuid", "61000", "--regid", "61000", "--clear-groups", "/usr/bin/python3", "-c", code])
        .arg(database)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    server.start_again();
}

#[track_caller]
fn assert_listed(server: &Server, id: &str, expected: &[(&str, &str)]) {
    let listed = server.get(&snapshots_of(id)).ok();
    let listed = listed.as_array().unwrap().iter();
    let mut listed: Vec<_> =
        listed.map(|it| (it["id"].as_str().unwrap(), it["name"].as_str().unwrap())).collect();
    listed.sort_by_key(|(_, name)| *name);
    assert_eq!(listed, expected);
}

#[test]
fn a_snapshot_whose_row_a_power_cut_took_is_recorded_again() {
    let mut server = Server::start();
    let id = counting(&server);
    let _ = server.run(&id);
    let first = taken(&server, &id, "first");
    let _ = server.run(&id);
    let second = taken(&server, &id, "second");
    power_cut(&mut server);
    assert_listed(&server, &id, &[(&first, "first"), (&second, "second")]);
    restore(&server, &id, &first);
    assert_eq!(server.run(&id).output(), "line\nline\n");
}

#[test]
fn so_is_one_of_a_sandbox_whose_disk_is_full() {
    let mut server = Server::start_with(&["--disk-default", "16M"]);
    let code = "test -e full && exit; echo kept > kept; dd if=/dev/zero of=full bs=64k; \
                for name in {1..10000}; do echo > $name || break; done";
    let id = server.create(&json!({"runtime": "bash", "code": code}));
    let _ = server.run(&id);
    let (first, second) = (taken(&server, &id, "first"), taken(&server, &id, "second"));
    power_cut(&mut server);
    assert_listed(&server, &id, &[(&first, "first"), (&second, "second")]);
    restore(&server, &id, &first);
    assert!(server.run(&id).success);
}

#[test]
fn a_new_database_in_the_place_of_another_costs_no_snapshot() {
    let mut server = Server::start();
    let id = counting(&server);
    let _ = server.run(&id);
    let first = taken(&server, &id, "first");
    server.stop();
    let (folder, aside) = (server.data().join("server"), server.data().join("server/logs/aside"));
    let files = || std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap()).filter(|it| it.path().is_file());
    std::fs::create_dir(&aside).unwrap();
    for file in files() {
        std::fs::rename(file.path(), aside.join(file.file_name())).unwrap();
    }
    // One that starts all the same must not keep the test waiting.
    let output = std::process::Command::new("timeout")
        .arg("60")
        .arg(atoll())
        .args(["serve", "--listen", "127.0.0.1:0", "--no-toolchain-install", "--data-dir"])
        .arg(server.data())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("put back the database that belongs"), "{said}");
    for file in files() {
        std::fs::remove_file(file.path()).unwrap();
    }
    for file in std::fs::read_dir(&aside).unwrap().map(|it| it.unwrap()) {
        std::fs::rename(file.path(), folder.join(file.file_name())).unwrap();
    }
    server.start_again();
    restore(&server, &id, &first);
    assert_eq!(server.run(&id).output(), "line\nline\n");
}
