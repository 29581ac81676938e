//! Terminals over WebSocket: what clients find there, when they come back, and when they do wrong.

use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, client, protocol::frame::coding::CloseCode};

use super::pty_clients::{Client, bash, create, handshake};
use crate::{
    http::{HttpAgent, TOKEN},
    wire::eventually,
};

#[test]
fn a_session_begins_when_a_client_comes_and_ends_with_its_program() {
    let agent = HttpAgent::with(&["--token", TOKEN], &[("TERM", "dumb")]);
    let folder = agent.path("made/for it");
    let command = "stty size; pwd; echo \"$TERM\"; read -r line; echo \"<$line>\"; exit 3";
    let id = create(&agent, &json!({"cwd": folder, "command": command}));
    let status = |agent: &HttpAgent| agent.get(&format!("/pty/{id}")).json();
    let fresh = json!({"session_id": id, "running": false, "output_offset": 0, "launch_attempted": false,
        "launch_failed": false});
    assert_eq!(status(&agent), fresh);
    let mut client = Client::attach(&agent, &id, "");
    let connected = json!({"type": "connected", "session_id": id, "mode": "pty", "role": "holder"});
    assert_eq!(client.told("connected"), connected);
    client.until(&format!("24 80\r\n{folder}\r\nxterm-256color\r\n"));
    assert_eq!(status(&agent)["running"], true);
    client.say(&json!({"type": "stdin", "data": "grüße\r"}));
    client.until("<grüße>\r\n");
    let ended = client.end();
    assert_eq!(ended.exit_code, Some(3));
    let close = ended.close.unwrap();
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Normal, "process exited"));
    let after = status(&agent);
    assert_eq!((&after["running"], &after["launch_attempted"]), (&json!(false), &json!(true)));
    assert!(after["output_offset"].as_u64().unwrap() > 0);
    assert_eq!(agent.delete(&format!("/pty/{id}")).status, 200);
    agent.get(&format!("/pty/{id}")).assert_error(404, "CONTEXT_NOT_FOUND", &id);
}

#[test]
fn sizes_and_signals_reach_the_program() {
    let agent = HttpAgent::start();
    let (_, mut client) = bash(&agent);
    client.until("> ");
    client.say(&json!({"type": "resize", "rows": 40, "cols": 120}));
    client.type_in(b"stty size\r");
    client.until("40 120\r\n");
    client.type_in(
        b"sh -c 'trap \"echo got-int; exit 3\" INT; echo wai''ting; while :; do sleep 0.01; done'\r",
    );
    client.until("waiting\r\n");
    client.say(&json!({"type": "signal", "signal": "SIGINT"}));
    client.until("got-int\r\n");
    client.type_in(b"echo st''atus-$?\r");
    client.until("status-3\r\n");
    client.say(&json!({"type": "ping"}));
    client.told("pong");
    client.say(&json!({"type": "signal", "signal": "SIGKILL"}));
    assert_eq!(client.end().exit_code, Some(-1));
}

#[test]
fn who_comes_back_sees_what_was_missed_and_nothing_twice() {
    let agent = HttpAgent::start();
    let (id, mut client) = bash(&agent);
    client.type_in(b"echo fir''st; read -r; echo sec''ond; touch done\r");
    client.until("first\r\n");
    let offset = agent.get(&format!("/pty/{id}")).json()["output_offset"].as_u64().unwrap();
    client.type_in(b"\r");
    drop(client);
    eventually("it goes on without a client", || agent.agent.path("done").exists());
    let mut client = Client::attach(&agent, &id, &format!("since={offset}"));
    assert_eq!(client.until("second\r\n").matches("first").count(), 0);
    client.told("connected");
    client.type_in(b"echo th''ird\r");
    client.until("third\r\n");
    drop(client);
    eventually("it is free again", || {
        let mut client = match Client::try_attach(&agent, &id, "since=-5") {
            Ok(client) => client,
            Err(status) => {
                assert_eq!(status, 409);
                return false;
            }
        };
        let all = client.until("third\r\n");
        assert!(client.replayed > 0 && all.contains("first\r\n") && all.contains("second\r\n"), "{all:?}");
        true
    });
    eventually("it is free once more", || {
        let Ok(mut client) = Client::try_attach(&agent, &id, "since=1000000000") else { return false };
        client.told("connected");
        assert_eq!(client.replayed, 0);
        true
    });
}

#[test]
fn the_end_is_told_to_who_comes_after_it_and_then_it_begins_anew() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({"command": "echo at-work; read -r line; echo over; exit 9"}));
    let mut client = Client::attach(&agent, &id, "");
    client.until("at-work\r\n");
    client.type_in(b"\r");
    drop(client);
    eventually("it has ended", || agent.get(&format!("/pty/{id}")).json()["running"] == false);
    let mut client = Client::attach(&agent, &id, "takeover=1");
    client.until("over\r\n");
    assert_eq!(client.end().exit_code, Some(9));
    let mut client = Client::attach(&agent, &id, "takeover=1&since=1000000");
    client.until("at-work\r\n");
    assert_eq!(client.replayed, 0);
}

#[test]
fn one_holds_and_others_view() {
    let agent = HttpAgent::start();
    let (id, mut holder) = bash(&agent);
    holder.type_in(b"echo be''fore\r");
    holder.until("before\r\n");
    assert_eq!(Client::try_attach(&agent, &id, "").err(), Some(409));
    let mut viewer = Client::attach(&agent, &id, "mode=viewer");
    viewer.until("before\r\n");
    assert_eq!(viewer.told("connected")["role"], "viewer");
    holder.type_in(b"echo la''ter\r");
    viewer.until("later\r\n");
    for attempt in 0..5 {
        match attempt {
            0 => viewer.type_in(b"exit\r"),
            1 => viewer.say(&json!({"type": "resize", "rows": 1, "cols": 1})),
            2 => viewer.say(&json!({"type": "signal", "signal": "SIGKILL"})),
            _ => viewer.say(&json!({"type": "stdin", "data": "exit\r"})),
        }
        assert_eq!(viewer.told("error")["code"], "READ_ONLY");
    }
    viewer.say(&json!({"type": "ping"}));
    viewer.told("pong");
    viewer.type_in(b"exit\r");
    assert_eq!(viewer.end().close.unwrap().code, CloseCode::Policy);

    let mut next = Client::attach(&agent, &id, "takeover=1");
    let close = holder.end().close.unwrap();
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Library(4001), "TAKEN_OVER"));
    next.until("later\r\n");
    let viewer = Client::attach(&agent, &id, "mode=viewer");
    next.type_in(b"exit 4\r");
    assert_eq!((next.end().exit_code, viewer.end().exit_code), (Some(4), Some(4)));
    assert_eq!(Client::try_attach(&agent, &id, "mode=viewer").err(), Some(409), "nothing runs");
}

#[test]
fn pipes_keep_the_streams_apart() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({}));
    let mut client = Client::attach(&agent, &id, "pty=0");
    assert_eq!(client.told("connected")["mode"], "pipe");
    client.type_in(b"test -t 0 || echo no-terminal; echo wrong >&2; read -r line; echo \"<$line>\"\n");
    client.until("no-terminal\n");
    client.type_in(b"typed\n");
    client.until("<typed>\n");
    while client.error_output != b"wrong\n" {
        client.read();
    }
    client.say(&json!({"type": "resize", "rows": 9, "cols": 9}));
    client.type_in(b"exit 2\n");
    assert_eq!(client.end().exit_code, Some(2));
}

#[test]
fn full_screen_programs_draw() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({"command": "exec vim -u NONE -N note.txt", "rows": 12, "cols": 50}));
    let mut client = Client::attach(&agent, &id, "");
    // The last of its lines without text is a tilde in the line above the status.
    client.until("\x1b[11;1H~");
    client.type_in("ihello wörld\x1b".as_bytes());
    client.until("wörld");
    client.say(&json!({"type": "resize", "rows": 20, "cols": 60}));
    client.until("\x1b[19;1H~");
    client.type_in(b":wq\r");
    assert_eq!(client.end().exit_code, Some(0));
    assert_eq!(std::fs::read_to_string(agent.agent.path("note.txt")).unwrap(), "hello wörld\n");

    let id = create(&agent, &json!({"command": "exec top"}));
    let mut client = Client::attach(&agent, &id, "");
    client.until("COMMAND");
    client.until("\x1b[");
    client.type_in(b"q");
    assert_eq!(client.end().exit_code, Some(0));
}

#[test]
fn a_client_that_does_not_read_costs_little_and_slows_the_program() {
    let agent = HttpAgent::start();
    let before = agent.agent.rss_bytes();
    let id = create(&agent, &json!({"command": "stty raw; exec yes"}));
    let mut client = Client::attach(&agent, &id, "");
    let mut last = 0;
    eventually("the program waits", || {
        // Asked this often, a program that goes on is seen to.
        agent.command(&json!({"command": "sleep 0.1"}));
        let now = agent.get(&format!("/pty/{id}")).json()["output_offset"].as_u64().unwrap();
        now > 0 && now == std::mem::replace(&mut last, now)
    });
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grown by {grown} bytes");
    // Others are served; and it goes on where it was for who reads again.
    let (_, mut other) = bash(&agent);
    other.type_in(b"echo he''re\r");
    other.until("here\r\n");
    while (client.shown.len() as u64) < last + (1 << 20) {
        client.read();
    }
    assert!(client.shown.chunks(2).all(|line| line == b"y\n" || line == b"y"), "something is missing");
    // Nobody waits for a client that is not there; the last MiB is kept.
    drop(client);
    eventually("the program goes on", || {
        agent.get(&format!("/pty/{id}")).json()["output_offset"].as_u64().unwrap() > last + (16 << 20)
    });
    let grown = agent.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grown by {grown} bytes");
    let mut client = Client::attach(&agent, &id, "takeover=1");
    client.told("connected");
    assert_eq!(client.replayed, 1 << 20);
    assert!(client.offset > last + (15 << 20));
    assert_eq!(agent.delete(&format!("/pty/{id}")).status, 200);
    assert!(client.end().exit_code.is_some());
}

#[test]
fn a_program_that_does_not_read_holds_up_nothing_but_its_input() {
    let agent = HttpAgent::start();
    let id = create(&agent, &json!({"command": "stty raw -echo; echo ready; exec sleep 1000"}));
    let mut client = Client::attach(&agent, &id, "");
    client.until("ready");
    for _ in 0..8 {
        client.type_in(&[b'x'; 100_000]);
    }
    client.say(&json!({"type": "ping"}));
    client.told("pong");
    client.say(&json!({"type": "signal", "signal": "SIGINT"}));
    assert_eq!(client.end().exit_code, Some(-1));
}

#[test]
fn what_makes_no_sense_is_answered_and_the_connection_stays() {
    let agent = HttpAgent::start();
    let (_, mut client) = bash(&agent);
    for (message, reason) in [
        (Message::text("{"), "not as it should be"),
        (Message::text(""), "not as it should be"),
        (Message::text("[]"), "not as it should be"),
        (Message::text("{\"type\":7}"), "invalid type"),
        (Message::text("{\"data\":\"x\"}"), "missing field"),
        (Message::text("{\"type\":\"dance\"}"), "unknown frame type \"dance\""),
        (Message::text("{\"type\":\"signal\",\"signal\":\"SIGNOPE\"}"), "unknown signal \"SIGNOPE\""),
        (Message::text("{\"type\":\"resize\",\"rows\":0,\"cols\":80}"), "at least 1"),
        (Message::text("{\"type\":\"resize\",\"rows\":80}"), "at least 1"),
        (Message::text("{\"type\":\"resize\",\"rows\":65536,\"cols\":1}"), "invalid value"),
        (Message::text("{\"type\":\"resize\",\"rows\":-1,\"cols\":1}"), "invalid value"),
        (Message::binary(vec![9, 1, 2]), "unknown binary frame type 9"),
    ] {
        client.send(message);
        let error = client.told("error");
        assert_eq!(error["code"], "INVALID_FRAME");
        assert!(error["error"].as_str().unwrap().contains(reason), "{error}");
    }
    client.send(Message::binary(Vec::new()));
    client.type_in(b"echo st''ill here\r");
    client.until("still here\r\n");
    client.send(Message::binary(vec![0; (1 << 20) + 1]));
    assert_eq!(client.end().close.unwrap().code, CloseCode::Size);
}

#[test]
fn doors_are_closed_to_whom_they_are_for_others() {
    let agent = HttpAgent::start();
    let (id, mut holder) = bash(&agent);
    holder.until("> ");
    for token in ["", "nope"] {
        let request = handshake(&agent, &format!("/pty/{id}/ws?takeover=1"), token);
        let answer = client(request, agent.connect()).map(drop).unwrap_err().to_string();
        assert!(answer.contains("401"), "{answer}");
        let header = format!("X-EXECD-ACCESS-TOKEN: {token}\r\n");
        for (method, target) in
            [("POST", "/pty".to_owned()), ("GET", format!("/pty/{id}")), ("DELETE", format!("/pty/{id}"))]
        {
            agent.request_bare(method, &target, &header, b"").assert_error(401, "UNAUTHORIZED", "TOKEN");
        }
    }
    agent.get(&format!("/pty/{id}/ws?takeover=1")).assert_error(400, "INVALID_REQUEST", "handshake");
    let old = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAA\r\n";
    let answer = agent.request("GET", &format!("/pty/{id}/ws?takeover=1"), old, b"");
    assert_eq!((answer.status, answer.header("sec-websocket-version")), (426, Some("13")));
    for (query, status) in [("since=x", 400), ("mode=owner", 400), ("", 409)] {
        assert_eq!(Client::try_attach(&agent, &id, query).err(), Some(status), "{query}");
    }
    assert_eq!(Client::try_attach(&agent, "00000000-0000-4000-8000-000000000000", "").err(), Some(404));
    assert_eq!(Client::try_attach(&agent, "nope", "").err(), Some(404));
    holder.type_in(b"echo st''ill held\r");
    holder.until("still held\r\n");

    let open = HttpAgent::with(&[], &[]);
    let id = create(&open, &json!({}));
    let mut request = handshake(&open, &format!("/pty/{id}/ws"), "");
    request.headers_mut().insert("Origin", "http://example.org".parse().unwrap());
    let answer = client(request, open.connect()).map(drop).unwrap_err().to_string();
    assert!(answer.contains("403"), "{answer}");
}

#[test]
fn sessions_that_make_no_sense_are_refused() {
    let agent = HttpAgent::start();
    for (body, reason) in [
        ("[]", "invalid length"),
        ("[null,null,null,null]", "begin with"),
        ("{\"rows\":0}", "at least 1"),
        ("{\"cols\":70000}", "invalid value"),
        ("{\"command\":1}", "invalid type"),
    ] {
        agent.request("POST", "/pty", "", body.as_bytes()).assert_error(400, "INVALID_REQUEST_BODY", reason);
    }
    std::fs::write(agent.agent.path("file"), "").unwrap();
    let answer = agent.post("/pty", &json!({"cwd": agent.path("file/below")}));
    assert_eq!(answer.status, 400);
    agent.get("/pty").assert_error(405, "METHOD_NOT_ALLOWED", "POST");
    let folder = agent.path("gone");
    let id = create(&agent, &json!({"cwd": folder}));
    std::fs::remove_dir(folder).unwrap();
    let mut client = Client::attach(&agent, &id, "");
    assert_eq!(client.told("error")["code"], "START_FAILED");
    assert_eq!(client.end().close.unwrap().code, CloseCode::Error);
    let status = agent.get(&format!("/pty/{id}")).json();
    assert_eq!((&status["launch_attempted"], &status["launch_failed"]), (&json!(true), &json!(true)));
}

#[test]
fn deleting_ends_all_that_runs_there() {
    let agent = HttpAgent::start();
    let (id, mut client) = bash(&agent);
    client.type_in(b"(trap '' HUP TERM; echo pid-$BASHPID; while :; do sleep 0.1; done) & sleep 1000\r");
    client.until("\npid-");
    let pid = client.until("\r").trim().to_owned();
    assert_eq!(agent.delete(&format!("/pty/{id}")).status, 200);
    assert!(client.end().exit_code.is_some());
    eventually("what was left is killed", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    agent.delete(&format!("/pty/{id}")).assert_error(404, "CONTEXT_NOT_FOUND", "no pty session");
}
