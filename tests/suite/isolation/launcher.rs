//! A server that was taken over: what it can make the launcher do, by requests that the server itself never makes.
//!
//! The test takes the server's end of the socket, as only the host's root can, and speaks in its place.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
};

use blackbox::{Server, deadline::wait_until};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{SendFlags, SocketType, send, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use serde_json::json;

/// Numbers of requests, as the protocol has them.
const LAUNCH: u64 = 0;
const FREEZE: u64 = 1;
const KILL: u64 = 3;
const REMOVE: u64 = 4;
const STATS: u64 = 5;
const SNAPSHOT_CREATE: u64 = 6;
const SNAPSHOT_RESTORE: u64 = 7;
const SNAPSHOT_REMOVE: u64 = 8;
const SNAPSHOT_LIST: u64 = 10;
const INVENTORY: u64 = 11;
const VOLUME_CREATE: u64 = 14;
const VOLUME_REMOVE: u64 = 15;
const VOLUME_LIST: u64 = 16;

/// A number in postcard's encoding.
fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

fn id(bytes: [u8; 16]) -> Vec<u8> {
    [number(16), bytes.to_vec()].concat()
}

/// A request under a number that the server does not get to.
fn call(request: u64, body: &[u8]) -> Vec<u8> {
    [number(1 << 60), number(request), body.to_vec()].concat()
}

fn launch(sandbox: [u8; 16], limits: [u64; 5]) -> Vec<u8> {
    launch_with(sandbox, limits, &[])
}

/// The same with volumes: source, sub-path, target.
fn launch_with(sandbox: [u8; 16], limits: [u64; 5], volumes: &[(Vec<u8>, &str, &str)]) -> Vec<u8> {
    let limits = limits.map(number).concat();
    let mut body =
        [id(sandbox), number(0), limits, number(0), vec![1, 0], number(u64::MAX), vec![0]].concat();
    body.extend(number(volumes.len() as u64));
    for (source, sub_path, target) in volumes {
        body.extend([source.clone(), text(sub_path), text(target), vec![0]].concat());
    }
    call(LAUNCH, &body)
}

/// A text in postcard's encoding.
fn text(text: &str) -> Vec<u8> {
    [number(text.len() as u64), text.as_bytes().to_vec()].concat()
}

/// Sources of volumes: one of the storage, and a folder of the host.
fn volume(name: [u8; 16]) -> Vec<u8> {
    [number(0), id(name)].concat()
}

fn host_folder(prefix: u8, path: &str) -> Vec<u8> {
    [number(1), vec![prefix], text(path)].concat()
}

/// An id of these bytes, which are all the same, as text.
fn uuid([byte, ..]: [u8; 16]) -> String {
    [4, 2, 2, 2, 6].map(|bytes| format!("{byte:02x}").repeat(bytes)).join("-")
}

/// The bytes of a sandbox's id.
fn bytes_of(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap().to_be_bytes()
}

/// The server's end of its launcher's socket: of the pairs it has, the one that the keeper made.
fn launcher_socket(server: &Server) -> OwnedFd {
    let pid = |number: u32| Pid::from_raw(i32::try_from(number).unwrap()).unwrap();
    let process = pidfd_open(pid(server.pid()), PidfdFlags::empty()).unwrap();
    let keeper = pid(server.keeper_pid());
    fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|fd| pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).ok())
        .find(|fd| {
            sockopt::socket_type(fd) == Ok(SocketType::SEQPACKET)
                && sockopt::socket_peercred(fd).is_ok_and(|peer| peer.pid == keeper)
        })
        .expect("the server has a launcher")
}

fn tell(socket: &OwnedFd, datagram: &[u8]) {
    loop {
        match send(socket, datagram, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)], None).unwrap();
            }
            other => break assert_eq!(other, Ok(datagram.len())),
        }
    }
}

fn long_running(server: &Server) -> String {
    let id = server.create(&json!({"runtime": "bash", "code": "sleep 1000", "mode": "persistent"}));
    assert!(server.run(&id).is_running);
    id
}

#[test]
fn a_server_that_was_taken_over_reaches_nothing_but_its_own_sandboxes() {
    let neighbour = Server::start();
    let theirs = long_running(&neighbour);
    let server = Server::start();
    let own = long_running(&server);
    let launcher = server.launcher_pid();
    let socket = launcher_socket(&server);
    for sandbox in [bytes_of(&theirs), [0; 16], [0xff; 16]] {
        let snapshot = id([1; 16]);
        for request in [FREEZE, STATS, SNAPSHOT_REMOVE, VOLUME_REMOVE, KILL, REMOVE] {
            tell(&socket, &call(request, &id(sandbox)));
        }
        tell(
            &socket,
            &call(SNAPSHOT_CREATE, &[id(sandbox), snapshot.clone(), number(1), vec![7], number(0)].concat()),
        );
        tell(
            &socket,
            &call(
                SNAPSHOT_CREATE,
                &[id(sandbox), snapshot.clone(), number(9000), vec![7; 9000], number(0)].concat(),
            ),
        );
        tell(
            &socket,
            &call(SNAPSHOT_RESTORE, &[id(sandbox), snapshot, number(u64::MAX), number(0)].concat()),
        );
        for list in [SNAPSHOT_LIST, INVENTORY, VOLUME_LIST] {
            tell(&socket, &call(list, &[vec![1], id(sandbox)].concat()));
        }
    }
    tell(&socket, &call(SNAPSHOT_RESTORE, &[id(bytes_of(&own)), id([1; 16]), number(0), number(0)].concat()));
    let usual = [64 << 20, 1000, 64, 1 << 30, 1024];
    for place in 0..usual.len() {
        for (step, value) in [0, 1, u64::from(u32::MAX), u64::MAX].into_iter().enumerate() {
            if value == u64::MAX && ![0, 3].contains(&place) {
                continue;
            }
            let mut limits = usual;
            limits[place] = value;
            let sandbox = [u8::try_from(2 + 5 * step + place).unwrap(); 16];
            tell(&socket, &launch(sandbox, limits));
            tell(&socket, &call(REMOVE, &id(sandbox)));
        }
    }
    for (number, bytes) in [0, 1, u64::MAX].into_iter().enumerate() {
        let name = [0x40 + u8::try_from(number).unwrap(); 16];
        tell(&socket, &call(VOLUME_CREATE, &[id(name), self::number(bytes)].concat()));
        tell(&socket, &launch_with(name, usual, &[(volume(name), "", "/data")]));
        tell(&socket, &call(VOLUME_REMOVE, &id(name)));
        tell(&socket, &call(REMOVE, &id(name)));
        tell(&socket, &call(VOLUME_REMOVE, &id(name)));
    }
    let many = vec![(volume([0x50; 16]), "", "/data"); 17];
    for volumes in [
        &[(volume([0x50; 16]), "", "/data")],
        &[(volume([0x40; 16]), "", "/etc")],
        &[(volume([0x40; 16]), "", "/")],
        &[(host_folder(0, "etc"), "", "/data")],
        &[(host_folder(255, ""), "", "/data")],
        &many[..],
        &many[..2],
    ] {
        tell(&socket, &launch_with([0x51; 16], usual, volumes));
    }
    // More than the socket holds, either way.
    (0..20_000).for_each(|_| tell(&socket, &call(STATS, &id([9; 16]))));
    assert_eq!(server.execute_code("bash", "echo served").output(), "served\n");
    assert_eq!(server.launcher_pid(), launcher, "the launcher did not die");
    assert_eq!((server.status(&own), neighbour.status(&theirs)), ("running".into(), "running".into()));
    assert!(
        !server.data().join("run").join(uuid([0x51; 16])).exists(),
        "what may not be mounted is not launched"
    );
    assert_eq!(fs::read_dir(server.data().join("storage/volumes")).unwrap().count(), 0);
}

#[test]
fn requests_that_are_none_end_the_launcher_and_nothing_else() {
    let server = Server::start();
    let own = long_running(&server);
    let truncated = call(KILL, &[number(15), vec![0; 15]].concat());
    let usual = [64 << 20, 1000, 64, 1 << 30, 1024];
    let malformed: [&[u8]; 10] = [
        &[0xff; 100],
        &[0xff; 11],
        &truncated,
        &call(99, &[]),
        &[call(STATS, &id([1; 16])), vec![0]].concat(),
        &call(SNAPSHOT_CREATE, &[id([1; 16]), id([1; 16]), number(1 << 60)].concat()),
        &[1; 150 << 10],
        &launch_with([1; 16], usual, &[(host_folder(0, "../etc"), "", "/data")]),
        &launch_with([1; 16], usual, &[(volume([1; 16]), "/etc", "/data")]),
        &launch_with([1; 16], usual, &[(volume([1; 16]), "", "data")]),
    ];
    for datagram in malformed {
        let before = server.launcher_pid();
        tell(&launcher_socket(&server), datagram);
        wait_until("another launcher is there", || server.launcher_pid() != before);
        wait_until("it serves", || {
            server.post("/execute", &json!({"runtime": "bash", "code": "true"})).status == 200
        });
        assert_eq!(server.status(&own), "running");
    }
}
