//! What a restore brings back: everything of every file, and nothing that came later.

use blackbox::Server;

use super::{keyed, restore, snapshot_names, vm_create, vm_output, vm_run};

/// Files of every kind, with everything about them that may be lost on the way.
const MAKE: &str = r#"
import os
os.umask(0)
os.makedirs('d/e', 0o751)
def put(path, data):
    with open(path, 'wb') as file: file.write(data)
put('plain', b'text\n'); put('d/e/bytes', bytes(range(256)) * 5000); put('empty', b'')
put('setuid', b'#!/bin/sh\n'); os.chmod('setuid', 0o4755)
put('owned', b'x'); os.chown('owned', 1000, 1001); os.chmod('owned', 0o640)
os.setxattr('plain', 'user.note', b'kept\x00\xff')
os.symlink('plain', 'link'); os.symlink('/nowhere', 'd/dangling'); os.lchown('link', 7, 8)
os.link('plain', 'd/hard')
with open('sparse', 'wb') as file: file.truncate(1 << 30); file.seek(1 << 29); file.write(b'middle')
os.mkfifo('fifo', 0o622)
put('old', b'o'); os.utime('old', ns=(1, 981173106123456789))
for number in range(300): put(f'd/e/{number}', str(number).encode() * number)
for path in ['d/e', 'd', 'plain']: os.utime(path, ns=(2, 1234567890987654321))
"#;

/// One hash over all that there is to know of the workspace, but for times of access and change.
const HASH: &str = r#"
import hashlib, os, stat
all, inodes = hashlib.sha256(), {}
paths = [os.path.join(at, name) for at, folders, files in os.walk('.') for name in folders + files]
for path in sorted(paths + ['.']):
    it = os.lstat(path)
    known = (path, it.st_mode, it.st_uid, it.st_gid, it.st_mtime_ns, it.st_nlink if not stat.S_ISDIR(it.st_mode) else 0)
    known += (inodes.setdefault(it.st_ino, path), it.st_size if stat.S_ISREG(it.st_mode) else 0)
    if stat.S_ISLNK(it.st_mode): known += (os.readlink(path),)
    if not stat.S_ISLNK(it.st_mode): known += tuple((name, os.getxattr(path, name)) for name in sorted(os.listxattr(path)))
    if stat.S_ISREG(it.st_mode):
        known += (it.st_blocks * 512 < it.st_size // 2,)
        with open(path, 'rb') as file: known += (hashlib.file_digest(file, 'sha256').hexdigest(),)
    all.update(repr(known).encode() + b'\n')
print(len(paths), all.hexdigest())
"#;

/// Touches everything, and makes twenty thousand files.
const CHANGE: &str = r#"
import os, shutil
for number in range(20000):
    with open(f'new{number}', 'w') as file: file.write(str(number))
shutil.rmtree('d/e'); os.rename('sparse', 'elsewhere'); os.unlink('link'); os.unlink('d/hard')
with open('plain', 'ab') as file: file.write(b'more')
with open('elsewhere', 'r+b') as file: file.write(b'x' * 100000)
os.setxattr('plain', 'user.note', b'other'); os.chown('owned', 0, 0); os.chmod('setuid', 0o600)
os.utime('old'); os.mkdir('empty-folder')
with open('/etc/changed', 'w') as file: file.write('x')
"#;

fn python(code: &str) -> String {
    format!("python3 - <<'END'\n{code}\nEND")
}

#[test]
fn a_restore_brings_back_every_bit_of_every_file() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", &python(MAKE));
    let made = vm_run(&client, "a", &python(HASH));
    let (before, snapshot) = (made["stdout"].as_str().unwrap(), made["snapshot"].as_str().unwrap());
    assert!(before.starts_with("31"), "three hundred files and some: {made}");
    vm_output(&client, "a", &python(CHANGE));
    assert_eq!(vm_output(&client, "a", "ls | wc -l").trim().parse::<usize>().unwrap() / 1000, 20);
    assert_eq!(restore(&client, "a", snapshot).status, 200);
    assert_eq!(vm_output(&client, "a", &python(HASH)), before);
    assert_eq!(vm_output(&client, "a", "ls /etc/changed 2>&1 | grep -c 'No such'"), "1\n");
    assert_eq!(restore(&client, "a", snapshot).status, 200, "and as often as one likes");
    assert_eq!(vm_output(&client, "a", &python(HASH)), before);
}

#[test]
fn a_restore_keeps_its_snapshot_deletes_later_ones_and_makes_none() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    for text in ["one", "two", "three"] {
        vm_run(&client, "a", &format!("echo {text} > f"));
    }
    let names = snapshot_names(&client, "a");
    assert_eq!(
        restore(&client, "a", &names[2]).ok()["message"],
        format!("Restored to snapshot \"{}\"", names[2])
    );
    assert_eq!(snapshot_names(&client, "a"), names[..3]);
    assert_eq!(super::snapshots_on_disk(&server), 3);
    assert_eq!(restore(&client, "a", &names[3]).error(404), format!("Snapshot \"{}\" not found", names[3]));
    assert_eq!(vm_output(&client, "a", "cat f"), "two\n");
    assert_eq!(restore(&client, "a", "initial").status, 200);
    assert_eq!(vm_output(&client, "a", "ls -A"), "");
}

#[test]
fn a_restore_ends_what_runs() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_run(&client, "a", "(while :; do date >> f; sleep 0.01; done) > /dev/null 2>&1 &");
    assert_eq!(restore(&client, "a", "initial").status, 200);
    assert_eq!(vm_output(&client, "a", "ls -A"), "", "nobody writes any more");
}

/// Writes rows, each in a transaction of its own, in two tables that must agree.
const WRITER: &str = r#"
import sqlite3
db = sqlite3.connect('data.db', isolation_level=None)
db.execute('PRAGMA journal_mode=WAL')
db.execute('CREATE TABLE a (n INTEGER)'); db.execute('CREATE TABLE b (n INTEGER, t TEXT)')
n = 0
while True:
    n += 1
    db.execute('BEGIN'); db.execute('INSERT INTO a VALUES (?)', (n,))
    db.execute('INSERT INTO b VALUES (?, ?)', (n, 'x' * 3000)); db.execute('COMMIT')
    if n % 50 == 0: db.execute('DELETE FROM b WHERE n < ?', (n - 40,)); db.execute('DELETE FROM a WHERE n < ?', (n - 40,))
"#;

/// Opens what a snapshot holds, as after a power cut.
const READER: &str = r#"
import sqlite3
db = sqlite3.connect('data.db')
print(db.execute('PRAGMA integrity_check').fetchone()[0], db.execute('SELECT max(n) FROM a').fetchone()[0] > 0,
      db.execute('SELECT max(n) FROM a').fetchone() == db.execute('SELECT max(n) FROM b').fetchone())
"#;

#[test]
fn a_database_that_is_written_to_can_be_opened_from_a_snapshot() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(
        &client,
        "a",
        &format!(
            "cat > w.py <<'END'\n{WRITER}\nEND\npython3 w.py > log 2>&1 &\nuntil [ -s data.db-wal ]; do sleep 0.01; done"
        ),
    );
    let taken: Vec<String> = (0..5)
        .map(|_| {
            vm_run(&client, "a", "sleep 0.2; pgrep -f w.py > /dev/null || cat log >&2")["snapshot"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(
        vm_output(&client, "a", "cat log; pgrep -xc python3"),
        "1\n",
        "it was written to all the time"
    );
    for snapshot in taken.iter().rev() {
        assert_eq!(restore(&client, "a", snapshot).status, 200);
        assert_eq!(vm_output(&client, "a", &python(READER)), "ok True True\n");
    }
}
