//! What people and programs say to each other over a terminal.

use blackbox::Server;
use serde_json::json;

use super::{Person, connect, session};

#[test]
fn it_has_the_size_that_it_was_given_and_programs_are_told_of_another() {
    let server = Server::start();
    let session = session(&server);
    let create = json!({"type": "terminal:create", "cols": 100, "rows": 30});
    let mut person = Person::create(connect(server.address(), &session), &create);
    person.type_in("trap 'echo wi''nch' WINCH; stty size\n");
    person.expect("30 100\r\n");
    person.resize(132, 50);
    person.type_in("stty size\n");
    person.expect("50 132\r\n");
    person.type_in("sh -c 'trap \"stty size; exit\" WINCH; echo wai''ting; while :; do sleep 0.01; done'\n");
    person.expect("waiting\r\n");
    person.resize(81, 25);
    person.expect("25 81\r\n");
}

#[test]
fn keys_interrupt_stop_and_continue() {
    let server = Server::start();
    let mut person = Person::sit_down(&server, &session(&server));
    person
        .type_in("sh -c 'trap \"echo got-int; exit 3\" INT; echo wai''ting; while :; do sleep 0.01; done'\n");
    person.expect("waiting\r\n");
    person.type_in("\x03");
    person.expect("got-int\r\n");
    person.type_in("echo code=$?.\n");
    person.expect("code=3.");
    // Job control: a program that reads, put aside and taken up again.
    person.type_in("sh -c 'echo rea''ding; read line; echo \"got <$line>\"'\n");
    person.expect("reading\r\n");
    person.type_in("\x1a");
    person.expect("Stopped");
    person.type_in("echo asi''de; jobs\n");
    person.expect("aside\r\n");
    person.expect("Stopped");
    person.type_in("fg\n");
    // What is typed before the shell has given the terminal away is the shell's.
    person.expect("fg\r\n");
    person.expect("sh -c");
    person.type_in("a line\n");
    person.expect("got <a line>\r\n");
    person.type_in("sh -c 'echo co''pying; exec cat'\n");
    person.expect("copying\r\n");
    person.type_in("\x04");
    person.type_in("echo after-e''of\n");
    person.expect("after-eof\r\n");
}

#[test]
fn the_end_is_told_with_its_code_after_the_last_word() {
    let server = Server::start();
    let session = session(&server);
    for (last, code) in
        [("echo la''st; exit 7\n", 7), ("echo la''st; kill -9 $$\n", 137), ("echo la''st; exit\n", 0)]
    {
        let mut person = Person::sit_down(&server, &session);
        person.type_in(last);
        let (shown, told) = person.leave();
        assert_eq!(told, code);
        assert!(shown.contains("last\r\n"), "{shown:?}");
    }
}

#[test]
fn characters_are_whole_however_they_come() {
    let server = Server::start();
    let mut person = Person::sit_down(&server, &session(&server));
    person.ready();
    // Each byte by itself, then what is no character, then many whose ends are wherever a read ends.
    let script = r#"
import os, time
for byte in 'begin é 日 🦀 end\n'.encode():
    os.write(1, bytes([byte])); time.sleep(0.002)
os.write(1, b'bad \xff\xc3( \xf0\x9f end\n')
line = 'a' * 7 + 'é日🦀' * 11 + '\n'
for _ in range(20000): os.write(1, line.encode())
os.write(1, b'finished\n')
"#;
    person.type_in("cat > /tmp/x.py <<'END'\n");
    for line in script.trim().lines() {
        person.type_in(&format!("{line}\n"));
    }
    person.type_in("END\nclear; echo st''art; python3 /tmp/x.py\n");
    person.expect("start\r\n");
    person.expect("begin é 日 🦀 end\r\n");
    assert_eq!(person.expect("\r\n"), "bad \u{fffd}\u{fffd}( \u{fffd} end");
    let shown = person.expect("finished\r\n");
    let line = format!("{}{}\r\n", "a".repeat(7), "é日🦀".repeat(11));
    assert_eq!(shown.len(), 20_000 * line.len());
    assert!(shown == line.repeat(20_000));
    person.type_in("printf '%s' 'é🦀' | od -An -tx1\n");
    person.expect("c3 a9 f0 9f a6 80");
}

#[test]
fn terminals_of_one_connection_are_each_their_own() {
    let server = Server::start();
    let mut socket = connect(server.address(), &session(&server));
    let mut ids = Vec::new();
    for _ in 0..3 {
        socket.send(&json!({"type": "terminal:create"}));
        loop {
            let message = socket.json();
            if message["type"] == "terminal:created" {
                ids.push(message["terminalId"].as_str().unwrap().to_owned());
                break;
            }
        }
    }
    for (number, id) in ids.iter().enumerate() {
        let line = format!("echo I-a''m-{number}\n");
        socket.send(&json!({"type": "terminal:input", "terminalId": id, "data": line}));
    }
    let mut shown = vec![String::new(); 3];
    while !shown.iter().enumerate().all(|(number, shown)| shown.contains(&format!("I-am-{number}\r\n"))) {
        let message = socket.json();
        let from = ids.iter().position(|id| message["terminalId"] == id.as_str()).unwrap();
        shown[from].push_str(message["data"].as_str().unwrap());
    }
    for (number, shown) in shown.iter().enumerate() {
        assert_eq!(shown.matches("I-am-").count(), 1, "{number}: {shown:?}");
    }
    socket.send(&json!({"type": "terminal:close", "terminalId": ids[1]}));
    loop {
        let message = socket.json();
        if message["type"] == "terminal:exit" {
            assert_eq!(message["terminalId"], ids[1].as_str());
            break;
        }
    }
    // Without a name it is the latest that is meant.
    socket.send(&json!({"type": "terminal:input", "data": "echo sti''ll\n"}));
    let mut shown = String::new();
    while !shown.contains("still\r\n") {
        let message = socket.json();
        assert_eq!(message["terminalId"], ids[2].as_str());
        shown.push_str(message["data"].as_str().unwrap());
    }
}
