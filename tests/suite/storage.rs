//! The place that sandboxes' layers are in: full, and crowded.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use blackbox::{Server, deadline::wait_until};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};

/// What a launch wants to be free: a sixteenth of the pool, whose size is 8 GB.
const WANTED_BYTES: u64 = 512 << 20;

const PIECE_BYTES: u64 = 256 << 20;

/// Takes room without writing, until less is left than a launch wants.
fn fill(server: &Server) -> PathBuf {
    let path = server.data().join("storage/ballast");
    let file = File::create(&path).unwrap();
    let free_bytes = || statvfs(&path).map(|it| it.f_bavail * it.f_frsize).unwrap();
    let mut taken = 0;
    // In small pieces, each committed: btrfs says that nothing is free while it looks for a large one.
    while free_bytes() >= WANTED_BYTES {
        fallocate(&file, FallocateFlags::empty(), taken, PIECE_BYTES).unwrap();
        syncfs(&file).unwrap();
        taken += PIECE_BYTES;
    }
    path
}

#[test]
fn without_room_a_launch_waits_and_then_is_refused() {
    let server = Server::start();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    let before = server.traces_at_rest();
    let ballast = fill(&server);
    let refused = server.post("/execute", &serde_json::json!({"runtime": "bash", "code": "true"})).error(503);
    assert!(refused.contains("storage is full"), "{refused}");
    server.nothing_left(&before);
    let client = (*server).clone();
    let patient = thread::spawn(move || client.execute_code("bash", "echo patient"));
    thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(ballast).unwrap();
    assert_eq!(patient.join().unwrap().output(), "patient\n", "it was launched when there was room again");
}

/// Makes empty subvolumes with the names of sandboxes, as a server with as many of them has.
fn layers_make(folder: &Path, count: u32) {
    let code = "import fcntl, os, struct, sys, uuid\n\
                folder = os.open(sys.argv[1], os.O_RDONLY)\n\
                for _ in range(int(sys.argv[2])):\n    \
                    fcntl.ioctl(folder, 0x5000940e, bytearray(struct.pack('q4088s', 0, str(uuid.uuid4()).encode())))\n";
    let made =
        Command::new("python3").args(["-c", code]).arg(folder).arg(count.to_string()).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_server_starts_however_many_layers_it_finds() {
    let mut server = Server::start();
    server.stop();
    let folder = server.data().join("storage/sandboxes");
    layers_make(&folder, 9000);
    let count = || std::fs::read_dir(&folder).unwrap().count();
    assert!(count() >= 9000);
    server.start_again();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    wait_until("what no record knows of is gone", || count() < 100);
}
