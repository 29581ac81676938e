//! What is put into a machine's workspace, and how it is compared with what comes back.

use blackbox::Client;

use super::vm_output;

/// Files of every kind, with everything about them that may be lost on the way.
pub(super) const MAKE: &str = r#"
import os
os.umask(0)
os.makedirs('d/e', 0o751); os.mkdir('hollow', 0o1777)
def put(path, data):
    with open(path, 'wb') as file: file.write(data)
put('plain', b'text\n'); put('d/e/bytes', bytes(range(256)) * 5000); put('empty', b'')
put('setuid', b'#!/bin/sh\n'); os.chmod('setuid', 0o4755)
put('owned', b'x'); os.chown('owned', 1000, 1001); os.chmod('owned', 0o640)
os.setxattr('plain', 'user.note', b'kept\x00\xff')
os.symlink('plain', 'link'); os.symlink('nowhere', 'd/dangling'); os.lchown('link', 7, 8)
os.link('plain', 'd/hard')
with open('sparse', 'wb') as file: file.truncate(64 << 20); file.seek(32 << 20); file.write(b'middle')
os.mkfifo('fifo', 0o622)
put('n' * 250, b'long'); put('.hidden \n\xff', b'odd')
put('old', b'o'); os.utime('old', ns=(1, 981173106123456789))
for number in range(2000): put(f'd/e/{number}', str(number).encode() * (number % 50))
for path in ['d/e', 'd', 'plain']: os.utime(path, ns=(2, 1234567890987654321))
"#;

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
    all.update(repr(known).encode() + b'\n')
print(len(paths), all.hexdigest())
"#;

/// The command that runs Python in the workspace, and leaves nothing there by itself.
pub(super) fn python(program: &str) -> String {
    format!("python3 -B - <<'END'\n{program}\nEND")
}

/// What is in the workspace, in one line.
pub(super) fn hash(client: &Client, vm: &str) -> String {
    vm_output(client, vm, &python(HASH))
}
