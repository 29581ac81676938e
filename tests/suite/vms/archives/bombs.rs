//! Archives of more than fits: refused at the limit, nothing has changed, and the machine goes on.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use blackbox::{Server, status_field};

use super::{
    super::snapshots_on_disk, hash, import, import_ok, keyed, snapshot_names, tar::Tar, vm_create, vm_output,
    zstd,
};

/// Bytes that don't compress, and have no holes.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 32).to_le_bytes()[..4].to_vec()
    };
    (0..bytes / 4).flat_map(|_| next(&mut state)).collect()
}

fn memory_kb(server: &Server) -> u64 {
    let field = status_field(server.pid(), "VmRSS").unwrap();
    field.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn bombs_are_refused_at_the_limit_of_the_disk() {
    let server = Server::start_with(&["--disk-default", "64M"]);
    let client = keyed(&server);
    vm_create(&client, "a");
    vm_output(&client, "a", "head -c 30M /dev/urandom > kept; touch f");
    let before = hash(&client, "a");
    let names = snapshot_names(&client, "a").len();
    let memory = memory_kb(&server);
    let zeros = Tar::default().file("zeros", &vec![0; 300 << 20]).end();
    let many = (0..200_000).fold(Tar::default(), |tar, number| tar.file(&format!("f{number}"), b"")).end();
    let ones = Tar::default().file("ones", &vec![1; 100 << 20]).end();
    // This alone would fit; what is there stays until it is known to be good.
    let beside = Tar::default().file("beside", &noise(50 << 20)).end();
    let large = Tar::default().file("large", &noise(80 << 20)).end();
    for bomb in [zeros, many, ones, beside, large] {
        let error = import(&client, "a", &zstd(&bomb)).error(413);
        assert!(error.contains("64 MB") || error.contains("67108864"), "{error}");
    }
    assert!(memory_kb(&server) < memory + (48 << 10), "{} KB were {memory}", memory_kb(&server));
    assert_eq!(hash(&client, "a"), before);
    assert_eq!(snapshots_on_disk(&server), names + 1);
    let sparse = Tar::default().file("sparse", &vec![0; 150 << 20]).end();
    import_ok(&client, "a", &zstd(&sparse));
    assert_eq!(vm_output(&client, "a", "ls -A; stat -c %s sparse"), "sparse\n157286400\n");
}

#[test]
fn an_archive_that_says_it_is_larger_than_the_disk_is_refused_unread() {
    let server = Server::start_with(&["--disk-default", "64M"]);
    let key = server.key_create(&[]);
    let client = server.with_key(&key);
    vm_create(&client, "a");
    let mut connection = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /vms/a/import HTTP/1.1\r\nHost: localhost\r\nx-api-key: {}\r\nContent-Length: 67108865\r\n\
         Connection: close\r\n\r\n",
        key.text
    );
    connection.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(vm_output(&client, "a", "ls -A"), "");
}
