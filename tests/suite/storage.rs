//! The place that sandboxes' layers are in: full, and crowded.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use blackbox::{
    Server, atoll,
    deadline::{found, wait_until},
};
use rustix::fs::{FallocateFlags, fallocate, statvfs, syncfs};
use serde_json::json;

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

fn space(server: &Server) -> (u64, u64) {
    let space = statvfs(server.data().join("storage")).unwrap();
    (space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize)
}

#[test]
fn a_larger_storage_is_grown_at_the_next_start() {
    let mut server = Server::start_with(&["--storage-size", "2G"]);
    assert_eq!(space(&server).0, 2 << 30);
    let body = json!({"runtime": "bash", "code": "cat made 2>/dev/null || echo first | tee made"});
    let id = server.create(&body);
    assert_eq!(server.run(&id).output(), "first\n");
    server.kill();
    server.start_again_with(&["--storage-size", "4G"]);
    assert_eq!(space(&server).0, 4 << 30);
    assert_eq!(server.run(&id).output(), "first\n", "its files are there");
    server.stop();
    server.start_again_with(&["--storage-size", "2G"]);
    assert_eq!(space(&server).0, 4 << 30);
    assert!(server.log().contains("does not shrink"), "{}", server.log());
}

/// Takes all the room there is, without writing it, and then what is left for small files.
const GREEDY: &str = "import os, time\n\
    fd = os.open('big', os.O_CREAT | os.O_WRONLY)\n\
    size = 64 << 20\n\
    at = 0\n\
    while size >= 4096:\n    \
        try:\n        \
            os.posix_fallocate(fd, at, size)\n        \
            at += size\n    \
        except OSError:\n        \
            size //= 2\n\
    for number in range(5000):\n    \
        try:\n        \
            open('small%d' % number, 'w').write('x' * 5000)\n    \
        except OSError:\n        \
            pass\n\
    print('full', flush=True)\n\
    time.sleep(10000)\n";

/// Makes the image one of another state of the host, written since the machine started.
fn image_outdate(server: &Server) {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(server.data().join("storage/images/host/fingerprint"), format!("another {boot}")).unwrap();
}

#[test]
fn sandboxes_that_fill_the_storage_together_can_be_removed_and_followed() {
    let mut server = Server::start_with(&["--storage-size", "2G", "--disk-default", "2G"]);
    let greedy: Vec<_> = (0..4)
        .map(|_| server.create(&json!({"runtime": "python", "code": GREEDY, "mode": "persistent"})))
        .collect();
    image_outdate(&server);
    // A launch needs room, so they are launched together.
    thread::scope(|scope| {
        let server = &server;
        for id in &greedy {
            scope.spawn(move || server.post_empty(&format!("/sandbox/{id}/execute")));
        }
    });
    // While a large piece is looked for, btrfs says for a moment that nothing is free.
    let has_filled =
        |id: &String| server.get(&format!("/admin/api/sandboxes/{id}/logs")).text.contains("full");
    let filled = found(Duration::from_secs(60), || greedy.iter().all(has_filled).then_some(()));
    assert!(filled.is_ok(), "they go on writing");
    assert!(space(&server).1 < 64 << 20, "the storage is full");
    server.kill();
    // It needs room for a new image, which the reserve gives it; a launch needs more.
    server.start_again();
    let refused = server.post("/execute", &json!({"runtime": "bash", "code": "true"})).error(503);
    assert!(refused.contains("storage is full"), "{refused}");
    for id in &greedy {
        server.remove(id);
    }
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n");
    let many = thread::scope(|scope| {
        let runs: Vec<_> =
            (0..8).map(|_| scope.spawn(|| server.execute_code("python", "print(7)").exit_code)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(many, [0; 8]);
    server.stop();
    server.start_again();
    assert_eq!(server.execute_code("bash", "echo alive").output(), "alive\n", "with a new image");
}

#[test]
fn doctor_says_what_the_storage_is() {
    let server = Server::start();
    let doctor = |folder: &Path| {
        let output =
            Command::new(atoll()).args(["doctor", "--json", "--data-dir"]).arg(folder).output().unwrap();
        let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = |subject: &str| {
            let findings = findings.as_array().unwrap();
            findings.iter().find(|finding| finding["subject"] == subject).unwrap().clone()
        };
        (of("storage"), of("free space"))
    };
    let (storage, free) = doctor(server.data());
    assert!(
        storage["detail"].as_str().unwrap().starts_with("btrfs in an image file: disk limits"),
        "{storage}"
    );
    assert_eq!(free["grade"], "ok");
    let _ballast = fill(&server);
    assert!(doctor(server.data()).1["hint"].as_str().unwrap().contains("--storage-size"));

    let new = server.data().join("another");
    let (storage, _) = doctor(&new);
    assert!(storage["detail"].as_str().unwrap().contains("storage.btrfs"), "{storage}");
    let plain = new.join("storage/sandboxes/one");
    std::fs::create_dir_all(&plain).unwrap();
    let (storage, _) = doctor(&new);
    assert!(storage["detail"].as_str().unwrap().contains("no disk limits"), "{storage}");
    assert_eq!(storage["grade"], "limited");
    assert_eq!(std::fs::read_dir(&new).unwrap().count(), 1, "nothing was made");
}

#[test]
fn a_machine_is_restored_where_there_is_no_room_for_another() {
    let server = Server::start();
    let client = server.with_key(&server.key_create(&[]));
    assert_eq!(client.post("/vms", &json!({"name": "a"})).status, 201);
    let run = |command: &str| client.post("/vms/a/run", &json!({"command": command})).ok();
    let kept = run("echo kept > file")["snapshot"].as_str().unwrap().to_owned();
    run("rm file");
    fill(&server);
    assert!(client.post("/vms", &json!({"name": "b"})).error(503).contains("storage is full"));
    let restored = client.post_empty(&format!("/vms/a/snapshots/{kept}/restore"));
    assert_eq!(restored.status, 200, "{}", restored.text);
    assert_eq!(run("cat file")["stdout"], "kept\n");
}
