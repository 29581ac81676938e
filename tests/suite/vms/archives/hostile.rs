//! Archives that are refused: the entry is named, nothing has changed, and the machine goes on.

use blackbox::{Client, Server};

use super::{filtered, hash, import, import_ok, keyed, snapshot_names, tar::Tar, vm_create, vm_output, zstd};

/// Sends an archive that must be refused with 400 and this in its text, and looks whether anything has changed.
fn refused(client: &Client, archive: &[u8], told: &str) {
    let names = snapshot_names(client, "a");
    let before = hash(client, "a");
    let error = import(client, "a", archive).error(400);
    assert!(error.contains(told), "{told:?} is not in {error:?}");
    assert_eq!(hash(client, "a"), before, "{told}");
    let now = snapshot_names(client, "a");
    assert_eq!(now.len(), names.len() + 2, "of the commands, and of nothing else: {now:?}");
}

fn machine(server: &Server) -> Client {
    let client = keyed(server);
    vm_create(&client, "a");
    vm_output(&client, "a", "mkdir d; echo one > f; echo two > d/g; ln -s f link");
    client
}

#[test]
fn hostile_archives_are_refused_whole() {
    let server = Server::start();
    let client = machine(&server);
    let good = || Tar::default().file("good", b"x");
    let archives = [
        (good().file("../out", b"x"), "../out"),
        (good().file("d/../../out", b"x"), "d/../../out"),
        (good().file("/etc/passwd", b"x"), "/etc/passwd"),
        (good().entry(b'2', "leads", "/etc/shadow", b""), "leads"),
        (good().entry(b'2', "up", "../../etc/shadow", b""), "up"),
        (good().entry(b'1', "hard", "/etc/passwd", b""), "hard"),
        (good().entry(b'1', "hard", "../etc/passwd", b""), "hard"),
        (good().entry(b'1', "hard", "f", b""), "hard"),
        (good().entry(b'2', "l", "good", b"").file("l/below", b"x"), "l/below"),
        (good().entry(b'3', "char", "", b""), "char"),
        (good().entry(b'4', "block", "", b""), "block"),
        (good().entry(b'Z', "unknown", "", b""), "unknown"),
    ];
    for (archive, told) in archives {
        refused(&client, &zstd(&archive.end()), told);
    }
    import_ok(&client, "a", &zstd(&good().end()));
    assert_eq!(vm_output(&client, "a", "ls -A"), "good\n");
}

#[test]
fn broken_archives_are_refused_whole() {
    let server = Server::start();
    let client = machine(&server);
    // So large that the agent has unpacked some of it before the end is missed.
    let noise: Vec<u8> =
        (0..400_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let tar = Tar::default().file("good", &noise).file("more", b"x").end();
    let whole = zstd(&tar);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let bare = "it is no zstd stream";
    for archive in
        [&tar, &whole[..whole.len() - 1], &whole[..1000], &flipped, &[&whole[..], b"more"].concat()]
    {
        refused(&client, archive, bare);
    }
    for cut in [tar.len() - 1024, tar.len() - 2000, 700_000] {
        refused(&client, &zstd(&tar[..cut]), "archive: ");
    }
    for archive in [Vec::new(), zstd(b""), zstd(b"no archive at all"), zstd(&[7; 5000])] {
        refused(&client, &archive, "archive: ");
    }
    let far = filtered("zstd", &["-q", "-c", "--long=27"], &tar);
    refused(&client, &far, "a window of more than 8 MiB");
}
