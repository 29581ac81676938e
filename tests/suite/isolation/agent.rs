//! A first process that was taken over: the server is spoken to by somebody who does not keep to the protocol.
//!
//! No program in a sandbox gets there (see `launch`), so the test puts a socket of its own in the agent's place.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::chown, net::UnixListener},
    path::PathBuf,
    thread,
};

use blackbox::{Client, Server, deadline::found, status_field};
use serde_json::{Value, json};

/// The kinds of frames that an agent sends, and one that only a server does.
const MESSAGE: u8 = 0;
const INPUT: u8 = 1;
const OUTPUT: u8 = 2;
/// What a frame of an agent may have, and what it may not.
const LONGEST: u32 = 64 << 10;
const TOO_LONG: u32 = LONGEST + 1;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_le_bytes()[..], &[kind], payload].concat()
}

fn message(parts: &[&[u8]]) -> Vec<u8> {
    frame(MESSAGE, &parts.concat())
}

/// The largest number, in postcard's encoding.
const MAX: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
/// Exit statuses: 0, the largest number, and the smallest signal.
const ZERO: &[u8] = &[0, 0];
const STATUS_MAX: &[u8] = &[0, 0xfe, 0xff, 0xff, 0xff, 0x0f];
const SIGNAL_MIN: &[u8] = &[1, 0xff, 0xff, 0xff, 0xff, 0x0f];

/// `ExecEnded`, with five numbers behind the status and whether it timed out.
fn ended(status: &[u8], number: &[u8]) -> Vec<u8> {
    message(&[&[3], status, &[0], &number.repeat(5)])
}

/// A socket in the place of the agent's. It says the same to everybody, and closes.
struct Impostor {
    socket: PathBuf,
}

impl Impostor {
    fn at(socket: PathBuf, says: Vec<u8>) -> Self {
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        chown(&socket, Some(61_000), Some(61_000)).unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 4096];
                // A server that has heard enough closes first.
                let _ = stream.read(&mut request).and_then(|_| stream.write_all(&says));
            }
        });
        Self { socket }
    }

    fn with(&self, says: Vec<u8>) -> Self {
        Self::at(self.socket.clone(), says)
    }
}

/// Where the server meets a machine's agent: found by a process that the machine is told to leave behind.
fn agent_socket(server: &Server, client: &Client, vm: &str) -> PathBuf {
    let mark = format!("impostor-{}", std::process::id());
    let command = format!("bash -c 'exec -a {mark} sleep 1000' > /dev/null 2>&1 &");
    assert_eq!(run(client, vm, &command).1["exitCode"], 0);
    let group = found(std::time::Duration::from_secs(10), || {
        fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            line.starts_with(mark.as_bytes())
                .then(|| fs::read_to_string(process.path().join("cgroup")).ok())?
        })
    });
    let group = group.expect("the process is there");
    let id = group.lines().find(|line| line.contains("/atoll-")).and_then(|line| line.rsplit('/').next());
    let socket = server.data().join("run").join(id.unwrap()).join("agent.sock");
    assert!(socket.exists(), "{group}");
    socket
}

fn run(client: &Client, vm: &str, command: &str) -> (u16, Value) {
    let answer = client.post(&format!("/vms/{vm}/run"), &json!({"command": command}));
    (answer.status, answer.json())
}

#[test]
fn an_agent_that_was_taken_over_gets_nowhere_with_the_server() {
    let server = Server::start_with(&["--output-max", "1M"]);
    let client = server.with_key(&server.key_create(&["--admin"]));
    for vm in ["bad", "good"] {
        assert_eq!(client.post("/vms", &json!({"name": vm})).status, 201);
    }
    let socket = agent_socket(&server, &client, "bad");
    let started = message(&[&[2, 14]]);
    let fine = [started.clone(), frame(OUTPUT, b"hi"), ended(ZERO, &[0])].concat();
    let mut impostor = Impostor::at(socket, fine);
    let ran = run(&client, "bad", "true");
    assert_eq!((ran.0, &ran.1["stdout"]), (200, &json!("hi")), "what follows proves nothing otherwise");

    let nonsense: [(&str, Vec<u8>); 16] = [
        ("closes", Vec::new()),
        ("the longest frame", [&[0xff; 4][..], &[MESSAGE]].concat()),
        ("a byte too long", [&TOO_LONG.to_le_bytes()[..], &[OUTPUT]].concat()),
        ("breaks off", [&LONGEST.to_le_bytes()[..], &[OUTPUT], &[b'x'; 1 << 15]].concat()),
        ("half a header", vec![1, 0, 0]),
        ("an unknown kind", frame(9, b"")),
        ("a server's frame", frame(INPUT, b"x")),
        ("an empty message", message(&[])),
        ("an unknown message", message(&[&[99]])),
        ("a message of noise", message(&[&[0xff; 100]])),
        ("bytes behind a message", message(&[&[0, 0]])),
        ("an answer to another request", message(&[&[0]])),
        ("a file", message(&[&[4], MAX, &[7]])),
        ("an unknown status", ended(&[7, 0], &[0])),
        ("a text that is longer than its frame", message(&[&[5, 0], MAX, b"x"])),
        ("a text that is none", message(&[&[5, 0, 2, 0xff, 0xfe]])),
    ];
    for (name, says) in nonsense {
        impostor = impostor.with([started.clone(), says].concat());
        let (status, body) = run(&client, "bad", "true");
        assert_eq!(status, 409, "{name}: {body}");
    }
    // What can be understood is passed on as it is, and harms nobody.
    for (status, code) in [(STATUS_MAX, i32::MAX), (SIGNAL_MIN, i32::MIN + 128)] {
        impostor = impostor.with([started.clone(), ended(status, MAX)].concat());
        let (answer, body) = run(&client, "bad", "true");
        assert_eq!((answer, &body["exitCode"]), (200, &json!(code)), "{body}");
    }
    // A hundred times what it was told to send, in the largest frames and in the smallest.
    let before: u64 = memory_kib(&server);
    for piece in [frame(OUTPUT, &[b'o'; LONGEST as usize]).repeat(1600), frame(OUTPUT, b"o").repeat(2 << 20)]
    {
        impostor = impostor.with([started.clone(), piece, ended(ZERO, &[0])].concat());
        let (answer, body) = run(&client, "bad", "true");
        assert_eq!((answer, body["stdout"].as_str().map(str::len)), (200, Some(1 << 20)));
    }
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more");

    assert_eq!(run(&client, "good", "echo alive").1["stdout"], "alive\n");
    assert_eq!(client.delete("/vms/bad").status, 200);
    assert_eq!(run(&client, "good", "echo alive").1["stdout"], "alive\n");
    assert_eq!(client.delete("/vms/good").status, 200);
}

/// The most memory that it has had.
fn memory_kib(server: &Server) -> u64 {
    let field = status_field(server.pid(), "VmHWM").unwrap();
    field.split_whitespace().next().unwrap().parse().unwrap()
}
