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
const IMAGE_FIND: u64 = 12;
const IMAGE_GET: u64 = 13;
const IMAGE_PULL: u64 = 14;

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

fn launch(sandbox: [u8; 16], [memory, cpu, pids, disk, files]: [u64; 5]) -> Vec<u8> {
    let limits = [memory, cpu, pids, disk, files].map(number).concat();
    call(LAUNCH, &[id(sandbox), number(0), limits, number(0), vec![1, 0], number(u64::MAX), vec![0]].concat())
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
        for request in [FREEZE, STATS, SNAPSHOT_REMOVE, KILL, REMOVE] {
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
        for list in [SNAPSHOT_LIST, INVENTORY] {
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
    // Images that are not here, and texts that are no references: none is a path.
    let digest = vec![0xee; 32];
    let limits = usual.map(number).concat();
    let from_image =
        [id([0xd0; 16]), number(1), digest.clone(), limits, number(0), vec![1, 0], number(0)].concat();
    tell(&socket, &call(LAUNCH, &[from_image, vec![0]].concat()));
    tell(&socket, &call(IMAGE_GET, &digest));
    for text in ["../../../etc/shadow", "/etc/shadow", "", "a\0b", &"a".repeat(100_000)] {
        let text = [number(text.len() as u64), text.as_bytes().to_vec()].concat();
        tell(&socket, &call(IMAGE_FIND, &text));
        tell(&socket, &call(IMAGE_PULL, &[text, vec![0]].concat()));
    }
    // More than the socket holds, either way.
    (0..20_000).for_each(|_| tell(&socket, &call(STATS, &id([9; 16]))));
    assert_eq!(server.execute_code("bash", "echo served").output(), "served\n");
    assert_eq!(server.launcher_pid(), launcher, "the launcher did not die");
    assert_eq!((server.status(&own), neighbour.status(&theirs)), ("running".into(), "running".into()));
}

#[test]
fn requests_that_are_none_end_the_launcher_and_nothing_else() {
    let server = Server::start();
    let own = long_running(&server);
    let truncated = call(KILL, &[number(15), vec![0; 15]].concat());
    let malformed: [&[u8]; 7] = [
        &[0xff; 100],
        &[0xff; 11],
        &truncated,
        &call(99, &[]),
        &[call(STATS, &id([1; 16])), vec![0]].concat(),
        &call(SNAPSHOT_CREATE, &[id([1; 16]), id([1; 16]), number(1 << 60)].concat()),
        &[1; 150 << 10],
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
