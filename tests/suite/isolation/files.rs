//! Files that the server writes for a client, where the sandbox has laid traps for it.

use std::fs;

use blackbox::Server;
use serde_json::json;

/// Plants traps, then has the server write through each of them.
#[test]
fn a_symlink_in_the_sandbox_never_leads_the_server_to_a_host_file() {
    let server = Server::start();
    let canary = "/var/tmp/atoll-canary";
    fs::write(canary, "untouched").unwrap();
    let before = [fs::read("/etc/passwd").unwrap(), fs::read("/etc/hostname").unwrap_or_default()];
    let data = server.data().display().to_string();
    let plant = format!(
        "cd /sandbox; ln -s / root; ln -s /etc/passwd passwd; ln -s {canary} canary; ln -s ../../../../../../../../etc up; \
         ln -s /proc/1/root proc-root; ln -s /proc/self/cwd cwd; ln -s /proc/1/fd fd; ln -s {data}/server server; \
         ln -s loop loop; ln -s /dev/null null; mkdir d; ln -s /proc/self/root d/e; mkfifo pipe; echo planted"
    );
    let id = server.create(&json!({"runtime": "bash", "code": plant}));
    assert_eq!(server.run(&id).output(), "planted\n");
    let paths = [
        "root/etc/passwd",
        &format!("root{canary}"),
        "passwd",
        "canary",
        "up/passwd",
        "proc-root/etc/passwd",
        "cwd/x",
        "fd/3",
        "server/atoll.db",
        "root/etc/atoll-new-file",
        "loop",
        "d/e/etc/passwd",
        "root/proc/sys/kernel/core_pattern",
        "root/usr/bin/atoll-new-file",
    ];
    for path in paths {
        let files = json!([{"path": path, "content": "written by a trap"}]);
        let answer = server.post(&format!("/sandbox/{id}/files"), &files);
        // Inside the sandbox it may be written, or refused; on the host it must not be.
        assert!([200, 400].contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
    }
    let after = [fs::read("/etc/passwd").unwrap(), fs::read("/etc/hostname").unwrap_or_default()];
    let canary_after = fs::read_to_string(canary).unwrap();
    fs::remove_file(canary).unwrap();
    assert_eq!(canary_after, "untouched");
    assert!(before == after, "a file in the host's /etc has changed");
    for new in ["/etc/atoll-new-file", "/usr/bin/atoll-new-file"] {
        assert!(!fs::exists(new).unwrap(), "{new}");
    }
    assert!(fs::read(server.data().join("server/atoll.db")).unwrap().starts_with(b"SQLite format 3"));
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

#[test]
fn a_trap_that_never_answers_does_not_hold_the_server() {
    let server = Server::start();
    let plant = "cd /sandbox; mkfifo pipe; rm -rf main.sh; ln -s pipe main.sh; echo planted";
    let id = server.create(&json!({"runtime": "bash", "code": plant}));
    assert_eq!(server.run(&id).output(), "planted\n");
    let answer = server.post(&format!("/sandbox/{id}/files"), &json!([{"path": "pipe", "content": "x"}]));
    assert!([200, 400].contains(&answer.status), "{}", answer.text);
    // The program's own file has become a trap: the next run replaces it, or says why it cannot.
    let again = server.post_empty(&format!("/sandbox/{id}/execute"));
    assert!([200, 400].contains(&again.status), "{}", again.text);
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}

#[test]
fn planted_links_in_the_layer_are_not_followed_by_the_launcher() {
    let server = Server::start();
    let canary = "/var/tmp/atoll-canary-folder";
    fs::create_dir_all(format!("{canary}/inside")).unwrap();
    // What a next launch mounts over, and what deletion walks through, become links to the host.
    let plant = format!(
        "for d in /tmp /dev /proc /sys /opt /run /home /srv /mnt; do rmdir $d 2>/dev/null || mv $d $d.old 2>/dev/null; \
         ln -sfn {canary} $d 2>/dev/null; done; mkdir -p /sandbox/a/b; ln -s {canary} /sandbox/a/b/c; echo planted"
    );
    let id = server.create(&json!({"runtime": "bash", "code": plant}));
    assert_eq!(server.run(&id).stdout, "planted\n");
    let again = server.post_empty(&format!("/sandbox/{id}/execute"));
    assert!([200, 400, 500].contains(&again.status), "{}", again.text);
    server.remove(&id);
    assert!(fs::exists(format!("{canary}/inside")).unwrap(), "the host's folder is still there");
    assert_eq!(fs::read_dir(canary).unwrap().count(), 1, "and nothing was written into it");
    fs::remove_dir_all(canary).unwrap();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
}
