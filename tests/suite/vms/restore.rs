//! What a restore brings back: everything of every file, and nothing that came later.

use blackbox::Server;

use super::{
    keyed, restore, snapshot_names, vm_create, vm_output, vm_run,
    workspace::{MAKE, hash, python},
};

/// All that there is to know of the workspace's own folder.
const FOLDER: &str = "stat -c '%a %u %g %h %y' .";

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

#[test]
fn a_restore_brings_back_every_bit_of_every_file() {
    let server = Server::start();
    let client = keyed(&server);
    vm_create(&client, "a");
    let made = vm_run(&client, "a", &python(MAKE));
    let snapshot = made["snapshot"].as_str().unwrap();
    let state = || hash(&client, "a") + &vm_output(&client, "a", FOLDER);
    let before = state();
    assert!(before.starts_with("20"), "two thousand files and some: {before}");
    vm_output(&client, "a", &python(CHANGE));
    assert_eq!(vm_output(&client, "a", "ls | wc -l").trim().parse::<usize>().unwrap() / 1000, 20);
    assert_eq!(restore(&client, "a", snapshot).status, 200);
    assert_eq!(state(), before);
    assert_eq!(vm_output(&client, "a", "ls /etc/changed 2>&1 | grep -c 'No such'"), "1\n");
    assert_eq!(restore(&client, "a", snapshot).status, 200, "and as often as one likes");
    assert_eq!(state(), before);
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
