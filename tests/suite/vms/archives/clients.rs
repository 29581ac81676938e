//! Clients that are slow, and clients that go away in the middle: neither costs more than a little, and nothing stays.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use blackbox::{Client, Key, Server, deadline::wait_until, status_field};
use serde_json::Value;

use super::{hash, keyed, snapshot_names, tar::Tar, vm_create, vm_output, zstd};

/// Sends the head of a request and leaves the connection open.
fn begin(server: &Server, key: &Key, line: &str, length: Option<usize>) -> TcpStream {
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
    let head = format!("{line} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {}\r\n{length}\r\n", key.text);
    connection.write_all(head.as_bytes()).unwrap();
    connection
}

/// A machine with a large snapshot, and its name.
fn large(client: &Client) -> String {
    vm_create(client, "a");
    vm_output(client, "a", "head -c 300M /dev/urandom > large");
    snapshot_names(client, "a").remove(1)
}

fn memory_kb(server: &Server) -> u64 {
    let field = status_field(server.pid(), "VmRSS").unwrap();
    field.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn slow_readers_of_exports_cost_little_memory_and_those_that_go_leave_nothing() {
    let server = Server::start();
    let before = server.traces_at_rest();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    let name = large(&client);
    let line = format!("GET /vms/a/snapshots/{name}/export");
    let memory = memory_kb(&server);
    let mut readers: Vec<_> = (0..4).map(|_| begin(&server, &key, &line, None)).collect();
    let mut bytes = vec![0; 64 << 10];
    for _ in 0..20 {
        for reader in &mut readers {
            assert!(reader.read(&mut bytes).unwrap() > 0);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let now = memory_kb(&server);
    assert!(now < memory + (64 << 10), "{now} KB were {memory}");
    let listed = client.get("/sandboxes").ok();
    assert_eq!(listed.as_array().unwrap().len(), 1, "exports are not listed: {listed}");
    let (running, ..) = (server.traces().processes.len(), drop(readers));
    wait_until("their sandboxes are gone", || server.traces().processes.len() <= running - 4);
    assert_eq!(client.delete("/vms/a").status, 200);
    server.nothing_left(&before);
}

#[test]
fn an_export_that_its_server_is_killed_over_leaves_nothing() {
    let mut server = Server::start();
    let key = server.key_create(&[]);
    let name = large(&server.with_key(&key));
    let mut reader = begin(&server, &key, &format!("GET /vms/a/snapshots/{name}/export"), None);
    reader.read_exact(&mut [0; 4096]).unwrap();
    server.kill();
    // The end of what came is not the end of an archive.
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    server.start_again();
    assert!(server.log().contains("removing a sandbox that was being made or removed"), "{}", server.log());
    let client = server.with_key(&key);
    let admin = server.with_key(&server.key_create(&["--admin"]));
    let listed: Value = admin.get("/sandboxes").ok();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(vm_output(&client, "a", "ls"), "large\n");
}

#[test]
fn an_archive_whose_sender_goes_away_changes_nothing() {
    let server = Server::start();
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    vm_create(&client, "a");
    vm_output(&client, "a", "mkdir d; echo one > d/f");
    let before = hash(&client, "a");
    let noise: Vec<u8> =
        (0..5_000_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let archive = zstd(&Tar::default().file("first", &noise).file("second", &noise).end());
    for sent in [0, 1000, archive.len() / 2, archive.len() - 1] {
        let mut sender = begin(&server, &key, "POST /vms/a/import", Some(archive.len()));
        sender.write_all(&archive[..sent]).unwrap();
        thread::sleep(Duration::from_millis(300));
        drop(sender);
        assert_eq!(hash(&client, "a"), before, "after {sent} bytes");
    }
    let names = snapshot_names(&client, "a");
    assert!(names.iter().all(|name| !name.starts_with("import_")), "{names:?}");
}

#[test]
fn an_archive_may_be_larger_than_other_bodies_and_is_never_held() {
    let server = Server::start_with(&["--body-max", "1M", "--body-memory", "2M"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    let name = {
        vm_output(&client, "a", "head -c 100M /dev/urandom > large");
        snapshot_names(&client, "a").remove(1)
    };
    let archive = super::export(&client, "a", &name);
    let memory = memory_kb(&server);
    super::import_ok(&client, "a", &archive);
    assert!(memory_kb(&server) < memory + (32 << 10), "{} KB were {memory}", memory_kb(&server));
    assert_eq!(vm_output(&client, "a", "stat -c %s large"), "104857600\n");
}
