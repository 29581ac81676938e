//! Volumes that the server keeps: shared, limited, their owner's, and gone when they are to go.

use blackbox::Server;
use serde_json::json;

use super::{complaint, delete, error, folders, keyed, named, names, output, sandbox, with};
use crate::opensandbox::{create, post, request, start};

#[test]
fn two_sandboxes_share_a_volume_and_one_only_reads() {
    let (_server, client) = start();
    let writer = sandbox(&client, &[named("shared")]);
    let reader = with(named("shared"), &json!({"readOnly": true, "mountPath": "/mnt/deep/in"}));
    let reader = sandbox(&client, &[reader]);
    let both = "cd /data; echo one > a; chown 1000:1000 a; chmod 640 a; stat -c '%u %g %a' a";
    assert_eq!(output(&client, &writer, both), ["1000 1000 640"]);
    assert_eq!(
        output(&client, &reader, "cat /mnt/deep/in/a; stat -c '%u %g %a' /mnt/deep/in/a"),
        ["one", "1000 1000 640"]
    );
    for command in [
        "echo two > /mnt/deep/in/a",
        "touch /mnt/deep/in/b",
        "rm /mnt/deep/in/a",
        "chmod 777 /mnt/deep/in",
        "mount -o remount,bind,rw /mnt/deep/in && touch /mnt/deep/in/b",
        "umount /mnt/deep/in && touch /mnt/deep/in/b",
    ] {
        complaint(&client, &reader, command);
    }
    assert_eq!(output(&client, &writer, "ls /data; cat /data/a"), ["a", "one"]);
    let options = |id: &str, place: &str| {
        let command = format!("awk '$5 == \"{place}\" {{ print $6 }}' /proc/self/mountinfo");
        output(&client, id, &command).join("")
    };
    let (read, written) = (options(&reader, "/mnt/deep/in"), options(&writer, "/data"));
    assert!(read.starts_with("ro,nosuid,nodev"), "{read}");
    assert!(written.starts_with("rw,nosuid,nodev"), "{written}");
}

#[test]
fn a_setuid_program_in_a_volume_gives_no_power() {
    let (_server, client) = start();
    let id = sandbox(&client, &[named("tools")]);
    let made =
        "cp /usr/bin/id /data/id; chmod 4755 /data/id; setpriv --reuid 1000 --clear-groups /data/id -u";
    assert_eq!(output(&client, &id, made), ["1000"]);
    complaint(&client, &id, "mknod /data/null c 1 3 && echo > /data/null");
}

#[test]
fn no_subvolume_is_made_in_a_volume() {
    let (_server, client) = start();
    let id = sandbox(&client, &[named("flat")]);
    let code = include_str!("subvolumes.py");
    let command =
        format!("cat > /root/try.py <<'END'\n{code}END\n/usr/bin/python3 /root/try.py && ls -A /data");
    assert_eq!(output(&client, &id, &command), ["EPERM"; 5]);
    // What shares bytes between files has come from the same family of requests.
    let copied = "cd /data; head -c 1M /dev/urandom > a; cp --reflink=always a b; cmp a b && echo same; \
                  chattr +C /data && lsattr -d /data | grep -c C";
    assert_eq!(output(&client, &id, copied), ["same", "1"]);
}

#[test]
fn a_sub_path_shows_one_folder_of_a_volume() {
    let (_server, client) = start();
    let inner = with(named("project"), &json!({"subPath": "a/b"}));
    let id = sandbox(&client, std::slice::from_ref(&inner));
    assert_eq!(
        output(&client, &id, "ls -A /data; echo inner > /data/file; ls -A /data/.."),
        output(&client, &id, "ls -A /data/..",)
    );
    let whole = sandbox(&client, &[named("project")]);
    assert_eq!(output(&client, &whole, "cat /data/a/b/file; ls /data"), ["inner", "a"]);
    // What lies there may be anything by then: a link leads nowhere, a file is no folder.
    assert_eq!(
        output(&client, &whole, "ln -s /etc /data/link; ln -s a /data/near; echo > /data/plain"),
        [""; 0]
    );
    for wrong in ["link", "near/b", "plain", "link/ssl"] {
        let (code, text) = super::refusal(&client, &[with(named("project"), &json!({"subPath": wrong}))]);
        assert_eq!(code, "VOLUME::INVALID_SUB_PATH", "{wrong}: {text}");
        assert!(text.starts_with(&format!("The sub-path {wrong} of the volume ")), "{text}");
    }
}

#[test]
fn a_volume_outlives_its_sandboxes_until_it_is_removed() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let id = sandbox(&client, &[named("kept")]);
    assert_eq!(output(&client, &id, "echo kept > /data/file"), [""; 0]);
    let (_, text) = error(&client.delete("/v1/volumes/kept"), 409);
    assert!(text.contains("in use"), "{text}");
    delete(&client, &id);
    assert_eq!(names(&client), ["kept"]);
    let id = sandbox(
        &client,
        &[with(
            named("kept"),
            &json!({"pvc": {
                "claimName": "kept",
                "createIfNotExists": false,
                "deleteOnSandboxTermination": true,
            }}),
        )],
    );
    assert_eq!(output(&client, &id, "cat /data/file"), ["kept"]);
    // It was there before the sandbox.
    delete(&client, &id);
    assert_eq!(names(&client), ["kept"]);
    assert_eq!(client.delete("/v1/volumes/kept").status, 204);
    error(&client.delete("/v1/volumes/kept"), 404);
    assert_eq!((names(&client), folders(&server)), (vec![], 0));
    server.nothing_left(&before);
}

#[test]
fn a_volume_made_for_a_sandbox_goes_with_it_unless_another_has_it() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let pvc = json!({"pvc": {"claimName": "scratch", "deleteOnSandboxTermination": true}});
    let first = sandbox(&client, &[with(named("scratch"), &pvc)]);
    delete(&client, &first);
    assert_eq!((names(&client), folders(&server)), (vec![], 0));

    let first = sandbox(&client, &[with(named("scratch"), &pvc)]);
    let second = sandbox(&client, &[named("scratch")]);
    assert_eq!(output(&client, &first, "echo shared > /data/file"), [""; 0]);
    delete(&client, &first);
    assert_eq!(output(&client, &second, "cat /data/file"), ["shared"]);
    assert_eq!(names(&client), ["scratch"]);
    delete(&client, &second);
    // The second did not ask for it, and so it is left to its owner.
    assert_eq!(client.delete("/v1/volumes/scratch").status, 204);
    server.nothing_left(&before);
}

#[test]
fn a_volume_holds_what_it_may_and_no_more() {
    let (_server, client) = start();
    let small = json!({"pvc": {"claimName": "small", "storage": "16Mi"}});
    let large = with(named("large"), &json!({"name": "large", "mountPath": "/large"}));
    let id = sandbox(&client, &[with(named("small"), &small), large]);
    let write = |path: &str, mib: u32| {
        format!("dd if=/dev/urandom of={path} bs=1M count={mib} conv=fsync status=none")
    };
    assert_eq!(output(&client, &id, &write("/data/fits", 8)), [""; 0]);
    let text = complaint(&client, &id, &write("/data/over", 32));
    assert!(text.contains("quota"), "{text}");
    // Neither the sandbox's own disk nor another volume is the fuller for it.
    assert_eq!(output(&client, &id, &format!("{}; {}", write("/large/x", 32), write("/x", 32))), [""; 0]);
    assert_eq!(output(&client, &id, "rm /data/over; stat -c %s /data/fits"), ["8388608"]);
}

#[test]
fn two_keys_have_each_a_volume_of_the_same_name() {
    let (server, first) = start();
    let second = keyed(&server);
    let ours = sandbox(&first, &[named("same")]);
    let theirs = sandbox(&second, &[named("same")]);
    assert_eq!(output(&first, &ours, "echo ours > /data/file"), [""; 0]);
    assert_eq!(output(&second, &theirs, "ls -A /data"), [""; 0]);
    let id = first.get("/v1/volumes").ok()["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!((names(&first), names(&second)), (vec!["same".to_owned()], vec!["same".to_owned()]));
    delete(&first, &ours);
    error(&second.delete(&format!("/v1/volumes/{id}")), 404);
    delete(&second, &theirs);
    assert_eq!(second.delete("/v1/volumes/same").status, 204);
    // Another key's is not found, and so is made anew where that is allowed.
    let found = json!({"pvc": {"claimName": "same", "createIfNotExists": false}});
    let (code, _) = super::refusal(&second, &[with(named("same"), &found)]);
    assert_eq!(code, "VOLUME::PVC_NOT_FOUND");
    assert_eq!(output(&first, &sandbox(&first, &[with(named("same"), &found)]), "cat /data/file"), ["ours"]);
    let admin = server.with_header("OPEN-SANDBOX-API-KEY", &server.key_create(&["--admin"]).text);
    assert_eq!(names(&admin), ["same"]);
}

#[test]
fn snapshots_hold_no_volume_and_pauses_keep_it() {
    let (_server, client) = start();
    let id = sandbox(&client, &[named("apart")]);
    assert_eq!(output(&client, &id, "echo inside > /data/file; echo own > /root/file"), [""; 0]);
    for step in ["pause", "resume"] {
        assert_eq!(post(&client, &id, step).status, 202);
    }
    assert_eq!(output(&client, &id, "cat /data/file"), ["inside"]);
    let taken = client.post(&format!("/v1/sandboxes/{id}/snapshots"), &json!({}));
    assert_eq!(taken.status, 202, "{}", taken.text);
    let mut body = request(&json!({"snapshotId": taken.json()["id"]}));
    body.as_object_mut().unwrap().remove("image");
    let made = client.post("/v1/sandboxes", &body);
    assert_eq!(made.status, 202, "{}", made.text);
    let without = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &without, "ls -A /data; cat /root/file"), ["own"]);
    body["volumes"] = json!([named("apart")]);
    let made = client.post("/v1/sandboxes", &body).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(output(&client, &made, "cat /data/file /root/file"), ["inside", "own"]);
}

#[test]
fn sandboxes_that_are_made_at_once_get_one_volume() {
    let (server, client) = start();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let made: Vec<_> = (0..6).map(|_| scope.spawn(|| sandbox(&client, &[named("one")]))).collect();
        made.into_iter().map(|made| made.join().unwrap()).collect()
    });
    for id in &ids {
        assert_eq!(output(&client, id, &format!("touch /data/{id}")), [""; 0]);
    }
    assert_eq!(output(&client, &ids[0], "ls /data").len(), ids.len());
    assert_eq!((names(&client), folders(&server)), (vec!["one".to_owned()], 1));
}

#[test]
fn a_volume_that_is_removed_while_sandboxes_are_made_is_whole_or_gone() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let body = request(&json!({"volumes": [named("contended")]}));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let made = client.post("/v1/sandboxes", &body);
                    if made.status == 202 {
                        let id = made.json()["id"].as_str().unwrap().to_owned();
                        assert_eq!(output(&client, &id, "touch /data/x; ls /data"), ["x"]);
                        delete(&client, &id);
                    } else {
                        // Removed between the look at it and the record of the sandbox.
                        error(&made, 409);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..200 {
                let status = client.delete("/v1/volumes/contended").status;
                assert!([204, 404, 409].contains(&status), "{status}");
            }
        });
    });
    let removed = client.delete("/v1/volumes/contended").status;
    assert!([204, 404].contains(&removed), "{removed}");
    assert_eq!((names(&client), folders(&server)), (vec![], 0));
    server.nothing_left(&before);
}

#[test]
fn a_sandbox_that_could_not_be_made_leaves_no_volume() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let client = keyed(&server);
    let missing =
        json!({"name": "b", "pvc": {"claimName": "none", "createIfNotExists": false}, "mountPath": "/b"});
    let (code, _) = super::refusal(&client, &[named("new"), missing]);
    assert_eq!(code, "VOLUME::PVC_NOT_FOUND");
    let failing = json!({"volumes": [named("new")], "entrypoint": ["/no/such/program"]});
    let refused = client.post("/v1/sandboxes", &request(&failing));
    assert!(refused.status >= 400, "{}", refused.text);
    assert_eq!((names(&client), folders(&server)), (vec![], 0));
    server.nothing_left(&before);
    assert_eq!(output(&client, &create(&client, &json!({})), "ls -d /data || echo none"), ["none"]);
}
