//! The host goes down with everything that runs, as a power cut does it; then it comes up again.

use std::{fs, path::Path, process::Command};

use blackbox::{Server, deadline::wait_until};
use serde_json::json;

/// Ends everything of the server at once, and takes away what is in memory only.
pub(crate) fn power_cut(server: &mut Server) {
    let (instance, keeper, launcher) = (server.instance(), server.keeper_pid(), server.launcher_pid());
    let processes = [keeper.to_string(), launcher.to_string(), server.pid().to_string()];
    assert!(Command::new("kill").arg("-9").args(processes).status().unwrap().success());
    server.kill();
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let groups = fs::read_dir(hierarchy.path().join(format!("atoll-{instance}")));
        for group in groups.into_iter().flatten().flatten() {
            let _ = fs::write(group.path().join("cgroup.kill"), "1");
        }
    }
    wait_until("nothing runs", || {
        fs::read_dir("/sys/fs/cgroup").unwrap().flatten().all(|hierarchy| {
            let groups = fs::read_dir(hierarchy.path().join(format!("atoll-{instance}")));
            groups.into_iter().flatten().flatten().all(|group| {
                fs::read_to_string(group.path().join("cgroup.procs")).unwrap_or_default().is_empty()
            })
        })
    });
    for folder in ["run", "storage"] {
        let mount = server.data().join(folder);
        wait_until("it can be unmounted", || Command::new("umount").arg(&mount).status().unwrap().success());
    }
    boot_change(&server.data().join("server/atoll.db"));
}

/// Has the database remember another boot than this one.
fn boot_change(database: &Path) {
    let code = "import sqlite3, sys\n\
                db = sqlite3.connect(sys.argv[1])\n\
                db.execute(\"UPDATE facts SET value = 'another' WHERE name = 'boot'\")\n\
                db.commit()\n";
    let changed = Command::new("setpriv")
        .args(["--reuid", "61000", "--regid", "61000", "--clear-groups", "/usr/bin/python3", "-c", code])
        .arg(database)
        .output()
        .unwrap();
    assert!(changed.status.success(), "{changed:?}");
}

#[test]
fn after_a_restart_of_the_host_files_and_snapshots_are_there_and_nothing_stale() {
    let mut server = Server::start();
    let code = "echo kept > file; exec sleep 1000";
    let id = server.create(&json!({"runtime": "bash", "code": code, "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    let path = format!("/admin/api/sandboxes/{id}/snapshots");
    wait_until("it has written its file", || {
        let file = server.data().join(format!("storage/sandboxes/{id}/root/upper/sandbox/file"));
        fs::read_to_string(file).is_ok_and(|text| text == "kept\n")
    });
    let taken = server.post(&path, &json!({"name": "before"}));
    assert_eq!(taken.status, 201, "{}", taken.text);
    power_cut(&mut server);
    server.start_again();
    let sandbox = server.get(&format!("/sandbox/{id}")).ok();
    assert_eq!(sandbox["ended"]["reason"], "lost", "{sandbox}");
    assert!(sandbox["ended"]["text"].as_str().unwrap().contains("the host was restarted"), "{sandbox}");
    let groups = server.traces().groups;
    assert!(!groups.iter().any(|group| group.ends_with(&id)), "{groups:?}");
    let snapshot = server.get(&path).ok()[0]["id"].as_str().unwrap().to_owned();
    let restored = server.post_empty(&format!("{path}/{snapshot}/restore"));
    assert_eq!(restored.status, 204, "{}", restored.text);
    let file = server.data().join(format!("storage/sandboxes/{id}/root/upper/sandbox/file"));
    assert_eq!(fs::read_to_string(file).unwrap(), "kept\n");
    assert!(server.run(&id).is_running, "it can be run again");
}
