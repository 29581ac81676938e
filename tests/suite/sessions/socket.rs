//! The messages of the WebSocket. What terminals do is tested elsewhere.

use std::time::Duration;

use blackbox::{Incoming, Server, Socket, deadline::wait_until};
use serde_json::{Value, json};

use super::{next_of, output, session_create, shown, socket, terminal_create, write};

fn input(socket: &mut Socket, terminal: &str, data: &str) {
    socket.send(&json!({"type": "terminal:input", "terminalId": terminal, "data": data}));
}

fn closed(socket: &mut Socket) -> Option<u16> {
    loop {
        if let Incoming::Closed(code) = socket.incoming() {
            return code;
        }
    }
}

#[test]
fn who_names_no_session_is_closed() {
    let server = Server::start();
    let at = |path: &str| Socket::connect(server.address(), path);
    for path in ["/ws", "/ws?sessionId=", "/ws?sessionId=none", "/ws?sessionId=session_1_none"] {
        assert_eq!(closed(&mut at(path)), Some(1008), "{path}");
    }
    assert!(server.get("/ws").error(400).contains("WebSocket"));
}

#[test]
fn a_terminal_is_typed_into_and_tells_its_end() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    let terminal = terminal_create(&mut page);
    assert!(terminal.starts_with("terminal_"), "{terminal}");
    input(&mut page, &terminal, "echo \"$(stty size)=$(pwd)\"\n");
    shown(&mut page, &terminal, "24 80=/sandbox");
    page.send(&json!({"type": "terminal:resize", "terminalId": terminal, "cols": 100, "rows": 30}));
    let mut sizes = 0;
    wait_until("it has its size", || {
        sizes += 1;
        input(&mut page, &terminal, &format!("echo $(stty size)=$(({sizes}+0))\n"));
        shown(&mut page, &terminal, &format!("={sizes}\r\n")).contains("30 100=")
    });
    // Without a name it goes to the latest.
    page.send(&json!({"type": "terminal:create", "cols": 40, "rows": 10}));
    let second = next_of(&mut page, "terminal:created")["terminalId"].as_str().unwrap().to_owned();
    page.send(&json!({"type": "terminal:input", "data": "echo $(stty size)\n"}));
    shown(&mut page, &second, "10 40");
    page.send(&json!({"type": "terminal:clear", "terminalId": terminal}));
    assert_eq!(next_of(&mut page, "terminal:cleared")["terminalId"], terminal.as_str());
    input(&mut page, &terminal, "exit 7\n");
    let exit = next_of(&mut page, "terminal:exit");
    assert_eq!(exit, json!({"type": "terminal:exit", "terminalId": terminal, "exitCode": 7}));
    page.send(&json!({"type": "terminal:close", "terminalId": second}));
    assert_eq!(next_of(&mut page, "terminal:exit")["terminalId"], second.as_str());
    input(&mut page, &terminal, "echo\n");
    assert_eq!(next_of(&mut page, "error")["error"], "Terminal not found");
}

#[test]
fn what_cannot_be_understood_is_told_and_the_connection_stays() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    for text in
        ["{", "", "[]", "null", "{}", r#"{"type":5}"#, r#"{"type":"x"}"#, r#"{"type":"terminal:input"}"#]
    {
        page.send_text(text);
        let error = page.json();
        assert!(error["type"] == "error" && error["error"].is_string(), "{text}: {error}");
    }
    page.send(&json!({"type": "terminal:input", "data": "x"}));
    assert_eq!(page.json()["error"], "There is no terminal: create one");
    for name in ["x", "terminal_1", "terminal_00112233445566778899aabbccddeeff"] {
        page.send(&json!({"type": "terminal:create", "terminalId": name}));
        assert_eq!(page.json(), json!({"type": "error", "error": "Terminal not found", "terminalId": name}));
    }
    let terminal = terminal_create(&mut page);
    input(&mut page, &terminal, "echo $((40+2))\n");
    shown(&mut page, &terminal, "42");
    page.send_text(&"x".repeat((1 << 20) + 1));
    assert_eq!(closed(&mut page), Some(1009));
}

#[test]
fn who_sends_too_much_is_told_slowed_and_closed() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    // Fewer than are closed for, more than pass at once.
    for _ in 0..200 {
        page.send(&json!({"type": "files:unwatch"}));
    }
    let mut told = 0;
    for _ in 0..200 {
        let mut message = page.json();
        if message["type"] == "error" {
            assert!(message["error"].as_str().unwrap().contains("100 a second"), "{message}");
            told += 1;
            message = page.json();
        }
        assert_eq!(message["type"], "files:unwatched");
    }
    assert!((1..10).contains(&told), "{told}");
    let mut page = socket(&server, &id);
    for _ in 0..2000 {
        page.send(&json!({"type": "files:unwatch"}));
    }
    assert_eq!(closed(&mut page), Some(1008));
}

#[test]
fn a_page_that_is_loaded_again_finds_its_terminal() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    let terminal = terminal_create(&mut page);
    input(&mut page, &terminal, "A=kept; echo before-$((1+1))\n");
    shown(&mut page, &terminal, "before-2");
    page.vanish();
    let mut page = socket(&server, &id);
    page.send(&json!({"type": "terminal:create", "terminalId": terminal, "cols": 90, "rows": 20}));
    assert_eq!(next_of(&mut page, "terminal:created")["terminalId"], terminal.as_str());
    shown(&mut page, &terminal, "before-2");
    input(&mut page, &terminal, "echo after-$A\n");
    shown(&mut page, &terminal, "after-kept");
    // Whoever comes later has it.
    let mut other = socket(&server, &id);
    other.send(&json!({"type": "terminal:create", "terminalId": terminal}));
    assert_eq!(next_of(&mut other, "terminal:created")["terminalId"], terminal.as_str());
    assert_eq!(next_of(&mut page, "terminal:detached")["terminalId"], terminal.as_str());
}

#[test]
fn a_terminal_that_nobody_comes_back_to_ends() {
    for keep in ["0", "1s"] {
        let server = Server::start_with(&["--session-terminal-keep", keep]);
        let id = session_create(&server);
        let mut page = socket(&server, &id);
        let terminal = terminal_create(&mut page);
        input(&mut page, &terminal, "echo $((40+2)); exec sleep 27182\n");
        shown(&mut page, &terminal, "42");
        let there = || {
            let processes = server.get(&format!("/api/processes/{id}")).ok();
            processes.to_string().contains("27182")
        };
        // The shell says 42 before it becomes what is looked for.
        wait_until("it runs", there);
        page.vanish();
        wait_until("it has ended", || !there());
        let mut page = socket(&server, &id);
        page.send(&json!({"type": "terminal:create", "terminalId": terminal}));
        loop {
            // Its end may still be told to whoever asks.
            let message = page.json();
            if message["type"] == "error" || message["type"] == "terminal:exit" {
                break;
            }
        }
    }
}

#[test]
fn the_machine_is_monitored_until_it_is_not() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    page.send(&json!({"type": "system:monitor"}));
    for _ in 0..2 {
        let stats = page.json();
        assert_eq!(stats["type"], "system:stats");
        assert!(stats["data"]["memory"]["total"].as_u64() > Some(0), "{stats}");
    }
    page.send(&json!({"type": "system:unmonitor"}));
    std::thread::sleep(Duration::from_secs(4));
    page.send(&json!({"type": "files:unwatch"}));
    let mut last = page.json();
    while last["type"] == "system:stats" {
        last = page.json();
    }
    assert_eq!(last["type"], "files:unwatched");
}

#[test]
fn changes_of_files_are_told() {
    let server = Server::start();
    let id = session_create(&server);
    let mut page = socket(&server, &id);
    page.send(&json!({"type": "files:watch"}));
    assert_eq!(page.json(), json!({"type": "files:watching"}));
    let told = |page: &mut Socket, path: &str, kind: &str| loop {
        let message = next_of(page, "files:changed");
        let changes = message["changes"].as_array().unwrap();
        let fits = |it: &&Value| it["path"] == path && it["type"] == kind;
        if let Some(found) = changes.iter().find(fits) {
            return found.clone();
        }
    };
    write(&server, &id, "new.txt", "x");
    let created = next_of(&mut page, "files:changed");
    assert!(created.to_string().contains("new.txt"), "{created}");
    let _ = output(&server, &id, "mkdir d && echo y > d/f");
    assert_eq!(told(&mut page, "d", "created")["isDirectory"], true);
    let _ = output(&server, &id, "mv new.txt old.txt");
    assert_eq!(told(&mut page, "old.txt", "moved")["from"], "new.txt");
    let _ = output(&server, &id, "rm old.txt");
    told(&mut page, "old.txt", "deleted");
    page.send(&json!({"type": "files:unwatch"}));
    next_of(&mut page, "files:unwatched");
    write(&server, &id, "silent", "x");
    page.send(&json!({"type": "x"}));
    assert_eq!(page.json()["type"], "error");
}

#[test]
fn a_key_comes_as_a_subprotocol() {
    let server = Server::start();
    let (key, other) = (server.key_create(&[]), server.key_create(&[]));
    let id = session_create(&server.with_key(&key));
    let path = format!("/ws?sessionId={id}");
    let with = |protocol: &str| {
        Socket::connect_with(server.address(), &path, &[("sec-websocket-protocol", protocol)])
    };
    assert_eq!(Socket::connect_with(server.address(), &path, &[]).err(), Some(401));
    assert_eq!(with("sessions, key.ws_wrong").err(), Some(401));
    let mut page = with(&format!("sessions, key.{}", key.text)).unwrap();
    let terminal = terminal_create(&mut page);
    input(&mut page, &terminal, "echo $((40+2))\n");
    shown(&mut page, &terminal, "42");
    assert_eq!(closed(&mut with(&format!("sessions, key.{}", other.text)).unwrap()), Some(1008));
    assert!(!server.log().contains(&key.text), "a key is not logged");
}
