//! Folders of the host: below those that the operator allowed, as their owner, and never past a link.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use blackbox::{Client, Server};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::{complaint, delete, error, keyed, output, refusal, sandbox, with};
use crate::opensandbox::request;

/// A user of the host, and a group that is not called so.
const OWNER: (u32, u32) = (1234, 2345);

/// A folder that is allowed, and one beside it that is not.
pub(super) struct Folders(PathBuf);

impl Folders {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folders = Self(PathBuf::from(format!("/var/tmp/atoll-h{}-{count}", std::process::id())));
        for folder in ["allowed", "allowed/work", "allowed-not"] {
            fs::create_dir_all(folders.0.join(folder)).unwrap();
            chown(folders.0.join(folder), Some(OWNER.0), Some(OWNER.1)).unwrap();
        }
        folders
    }

    /// A path in the allowed folder.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.0.join("allowed").join(below)
    }

    /// A server that allows it, and a client.
    pub(super) fn serve(&self) -> (Server, Client) {
        let server = Server::start_with(&["--volume-prefix", self.0.join("allowed").to_str().unwrap()]);
        let client = keyed(&server);
        (server, client)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

/// A file of an owner's.
fn file(path: &Path, owner: u32, group: u32, mode: u32) {
    fs::write(path, "text\n").unwrap();
    chown(path, Some(owner), Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder of the host, at `/host`.
pub(super) fn host(path: &Path) -> Value {
    json!({"name": "work", "host": {"path": path}, "mountPath": "/host"})
}

#[test]
fn what_a_sandbox_writes_belongs_to_the_folders_owner() {
    let folders = Folders::new();
    let work = folders.path("work");
    file(&work.join("theirs"), OWNER.0, OWNER.1, 0o600);
    file(&work.join("roots"), 0, 0, 0o600);
    file(&work.join("open"), 0, 0, 0o666);
    file(&work.join("others"), 4321, OWNER.1, 0o644);
    let (_server, client) = folders.serve();
    let id = sandbox(&client, &[host(&work)]);
    let shown = "cd /host; stat -c '%n %u %g' . open others roots theirs; cat theirs others";
    assert_eq!(
        output(&client, &id, shown),
        [". 0 0", "open 65534 65534", "others 65534 0", "roots 65534 65534", "theirs 0 0", "text", "text"]
    );
    for command in [
        "cat /host/roots",
        "chmod 666 /host/roots",
        // Its mode lets everybody write it, its owner is nobody's business here.
        "echo more >> /host/open",
        "echo more >> /host/others",
        "chown 1000 /host/theirs",
        "setpriv --reuid 1000 --clear-groups touch /host/new",
        "mknod /host/null c 1 3 && echo > /host/null",
    ] {
        complaint(&client, &id, command);
    }
    let made = "cd /host; mkdir -p a/b; echo made > a/b/file; cp /usr/bin/id id; chmod 4755 id; \
                setpriv --reuid 1000 --clear-groups ./id -u";
    assert_eq!(output(&client, &id, made), ["1000"]);
    for made in ["a", "a/b", "a/b/file", "id"] {
        let found = fs::symlink_metadata(work.join(made)).unwrap();
        assert_eq!((found.uid(), found.gid()), OWNER, "{made}");
    }
    assert_eq!(fs::read_to_string(work.join("open")).unwrap(), "text\n");
    // The host's own changes are seen at once.
    fs::write(work.join("theirs"), "changed\n").unwrap();
    assert_eq!(output(&client, &id, "cat /host/theirs"), ["changed"]);
    delete(&client, &id);
    assert_eq!(fs::read_to_string(work.join("a/b/file")).unwrap(), "made\n");
}

#[test]
fn a_folder_of_roots_can_only_be_read() {
    let folders = Folders::new();
    let (roots, group) = (folders.path("roots"), folders.path("group"));
    for (folder, owner) in [(&roots, (0, OWNER.1)), (&group, (OWNER.0, 0))] {
        fs::create_dir(folder).unwrap();
        file(&folder.join("file"), owner.0, owner.1, 0o640);
        chown(folder, Some(owner.0), Some(owner.1)).unwrap();
    }
    let (_server, client) = folders.serve();
    for folder in [&roots, &group] {
        let (code, text) = refusal(&client, &[host(folder)]);
        assert_eq!(code, "VOLUME::INVALID_HOST_PATH", "{text}");
        assert!(text.contains("belongs to root") && text.contains("readOnly"), "{text}");
        let id = sandbox(&client, &[with(host(folder), &json!({"readOnly": true}))]);
        assert_eq!(output(&client, &id, "cat /host/file"), ["text"]);
        for command in ["touch /host/new", "echo > /host/file", "chmod 4777 /host/file"] {
            let text = complaint(&client, &id, command);
            assert!(text.contains("Read-only file system"), "{text}");
        }
    }
    // The owner of what is mounted counts, not that of what it lies in.
    fs::create_dir(folders.path("work/inner")).unwrap();
    let inner = with(host(&folders.path("work")), &json!({"subPath": "inner"}));
    assert_eq!(refusal(&client, &[inner]).0, "VOLUME::INVALID_HOST_PATH");
}

#[test]
fn only_what_lies_below_an_allowed_folder_is_mounted() {
    let folders = Folders::new();
    let server = {
        let (mut server, client) = folders.serve();
        let beside = folders.0.join("allowed-not");
        for path in [beside.as_path(), &folders.0, Path::new("/etc"), Path::new("/"), server.data()] {
            let (code, text) = refusal(&client, &[host(path)]);
            assert_eq!(code, "VOLUME::HOST_PATH_NOT_ALLOWED", "{text}");
            assert!(text.contains("--volume-prefix"), "{text}");
        }
        for path in ["work/..", "work/../../allowed-not", ".."] {
            assert_eq!(
                refusal(&client, &[host(&folders.path(path))]).0,
                "VOLUME::INVALID_HOST_PATH",
                "{path}"
            );
        }
        for path in ["missing", "work/missing"] {
            assert_eq!(
                refusal(&client, &[host(&folders.path(path))]).0,
                "VOLUME::HOST_PATH_NOT_FOUND",
                "{path}"
            );
            assert!(!folders.path(path).exists());
        }
        let whole = sandbox(&client, &[host(&folders.0.join("allowed"))]);
        assert_eq!(output(&client, &whole, "ls /host"), ["work"]);
        delete(&client, &whole);
        server.stop();
        server.start_again_with(&[]);
        server
    };
    let client = keyed(&server);
    assert_eq!(refusal(&client, &[host(&folders.path("work"))]).0, "VOLUME::HOST_PATH_NOT_ALLOWED");
}

#[test]
fn links_on_the_way_to_a_folder_are_not_followed() {
    let folders = Folders::new();
    file(&folders.path("work/plain"), OWNER.0, OWNER.1, 0o644);
    symlink("/etc", folders.path("system")).unwrap();
    symlink("work", folders.path("near")).unwrap();
    symlink("..", folders.path("work/up")).unwrap();
    symlink("/proc/self/root", folders.path("magic")).unwrap();
    let (_server, client) = folders.serve();
    for path in ["system", "system/ssl", "near", "near/x", "work/up", "work/up/work", "magic", "work/plain"] {
        let volume = with(host(&folders.path(path)), &json!({"readOnly": true}));
        assert_eq!(refusal(&client, &[volume]).0, "VOLUME::HOST_PATH_NOT_FOUND", "{path}");
        let below = json!({"readOnly": true, "subPath": path});
        let (code, text) = refusal(&client, &[with(host(&folders.0.join("allowed")), &below)]);
        assert_eq!(code, "VOLUME::INVALID_SUB_PATH", "{path}: {text}");
    }
    let missing = json!({"subPath": "new"});
    assert_eq!(
        refusal(&client, &[with(host(&folders.path("work")), &missing)]).0,
        "VOLUME::INVALID_SUB_PATH"
    );
    assert!(!folders.path("work/new").exists(), "the host's folders are the host's affair");
}

#[test]
fn a_folder_that_turns_into_a_link_meanwhile_leads_nowhere() {
    let folders = Folders::new();
    file(&folders.path("work/mark"), OWNER.0, OWNER.1, 0o644);
    let secret = folders.0.join("allowed-not/secret");
    file(&secret, OWNER.0, OWNER.1, 0o644);
    let (link, work) = (folders.path("link"), folders.path("work"));
    symlink(folders.0.join("allowed-not"), &link).unwrap();
    let (_server, client) = folders.serve();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &link, CWD, &work, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let attempts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..12 {
                let body = request(&json!({"volumes": [host(&work)]}));
                let made = client.post("/v1/sandboxes", &body);
                if made.status == 202 {
                    let id = made.json()["id"].as_str().unwrap().to_owned();
                    assert_eq!(output(&client, &id, "ls /host"), ["mark"]);
                    delete(&client, &id);
                } else {
                    assert_eq!(error(&made, 400).0, "VOLUME::HOST_PATH_NOT_FOUND");
                }
            }
        }));
        over.store(true, Ordering::Relaxed);
        attempts.unwrap();
    });
}

#[test]
fn what_the_host_has_mounted_below_a_folder_is_no_part_of_it() {
    let folders = Folders::new();
    let inner = folders.path("work/inner");
    fs::create_dir(&inner).unwrap();
    chown(&inner, Some(OWNER.0), Some(OWNER.1)).unwrap();
    let _mounted = Mounted::tmpfs(&inner);
    file(&inner.join("apart"), OWNER.0, OWNER.1, 0o644);
    let (_server, client) = folders.serve();
    let id = sandbox(&client, &[host(&folders.path("work"))]);
    assert_eq!(output(&client, &id, "ls -A /host; ls -A /host/inner"), ["inner"]);
    // It can be asked for by itself.
    let id = sandbox(&client, &[host(&inner)]);
    assert_eq!(output(&client, &id, "ls -A /host; touch /host/new"), ["apart"]);
    let made = fs::symlink_metadata(inner.join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), OWNER);
}

/// A file system on the host that is unmounted at the end.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(on: &'a Path) -> Self {
        let options = format!("uid={},gid={},size=1m", OWNER.0, OWNER.1);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(on).status();
        assert!(mounted.unwrap().success());
        Self(on)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0).status();
        if !std::thread::panicking() {
            assert!(unmounted.unwrap().success());
        }
    }
}

#[test]
fn an_option_that_would_open_the_server_itself_is_refused() {
    let folders = Folders::new();
    let data = folders.0.join("data");
    for (prefix, part) in [
        ("relative", "absolute"),
        ("/proc", "kernel"),
        ("/sys/fs", "kernel"),
        ("/", "plain path"),
        ("/no/such/folder", "volume_prefix"),
        ("/etc/passwd", "plain path"),
        (folders.0.to_str().unwrap(), "apart from"),
    ] {
        let mut serve = Command::new(blackbox::atoll());
        serve.args(["serve", "--listen", "127.0.0.1:0", "--volume-prefix", prefix, "--data-dir"]).arg(&data);
        let refused = serve.output().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(part), "{prefix}: {text}");
    }
}
