//! Workspaces that go out as archives and come in again: [`round_trip`] that nothing is lost, [`turns`] that it disturbs
//! nobody, [`hostile`] and [`bombs`] that bad archives change nothing, [`clients`] what happens when somebody is slow or
//! goes away.

mod bombs;
mod clients;
mod hostile;
mod round_trip;
mod tar;
mod turns;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use blackbox::{Answer, Client};
use serde_json::Value;

use super::{keyed, restore, snapshot_names, snapshots, vm_create, vm_output, vm_run};

/// One hash over all that there is to know of what is in the workspace, but for times of access and change.
const HASH: &str = r#"
import hashlib, os, stat
all, inodes = hashlib.sha256(), {}
paths = [os.path.join(at, name) for at, folders, files in os.walk('.') for name in folders + files]
for path in sorted(paths):
    it = os.lstat(path)
    known = (path, it.st_mode, it.st_uid, it.st_gid, it.st_mtime_ns, it.st_nlink if not stat.S_ISDIR(it.st_mode) else 0)
    known += (inodes.setdefault(it.st_ino, path), it.st_size if stat.S_ISREG(it.st_mode) else 0)
    if stat.S_ISLNK(it.st_mode): known += (os.readlink(path),)
    else: known += tuple((name, os.getxattr(path, name)) for name in sorted(os.listxattr(path)))
    if stat.S_ISREG(it.st_mode):
        known += (it.st_blocks * 512 < it.st_size // 2,)
        with open(path, 'rb') as file: known += (hashlib.file_digest(file, 'sha256').hexdigest(),)
    all.update(repr(known).encode())
print(len(paths), all.hexdigest())
"#;

/// Runs Python in the workspace; what it wrote.
fn python(client: &Client, vm: &str, program: &str) -> String {
    vm_output(client, vm, &format!("python3 -B - <<'END'\n{program}\nEND"))
}

/// What is in the workspace, in one line.
fn hash(client: &Client, vm: &str) -> String {
    python(client, vm, HASH)
}

/// The archive of a snapshot.
fn export(client: &Client, vm: &str, snapshot: &str) -> Vec<u8> {
    let path = format!("/vms/{vm}/snapshots/{snapshot}/export");
    let answer = client.send_bytes("GET", &path, None).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.body
}

/// Sends an archive.
fn import(client: &Client, vm: &str, archive: &[u8]) -> Answer {
    let body = Some(("application/zstd", archive));
    client.send_bytes("POST", &format!("/vms/{vm}/import"), body).unwrap().into_text()
}

/// Imports an archive that must be good; the row of its snapshot.
fn import_ok(client: &Client, vm: &str, archive: &[u8]) -> Value {
    let answer = import(client, vm, archive);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()
}

/// What a program of the host makes of this input.
fn filtered(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

/// Compressed as `zstd` does it.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    filtered("zstd", &["-q", "-1", "-c"], bytes)
}
