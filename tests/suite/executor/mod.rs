//! The executor of a sandbox through the server, and the port that it shows.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use blackbox::{Answer, Client, Server, deadline::wait_until};
use serde_json::{Value, json};

use crate::opensandbox::{create, error, keyed, start};

fn executor(id: &str, path: &str) -> String {
    format!("/v1/sandboxes/{id}/executor{path}")
}

fn token(client: &Client, id: &str) -> String {
    let endpoint = client.get(&format!("/v1/sandboxes/{id}/endpoints/3030")).ok();
    endpoint["headers"]["X-EXECD-ACCESS-TOKEN"].as_str().unwrap().to_owned()
}

fn is_text(answer: &Answer, status: u16, text: &str) {
    assert_eq!((answer.status, answer.text.as_str()), (status, text));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
}

fn run(client: &Client, path: &str) -> Value {
    client.post(path, &json!({"cmd": "echo in"})).ok()
}

#[test]
fn a_token_as_a_bearer_or_a_key_opens_the_executor_of_its_own_sandbox() {
    let (server, client) = start();
    let (id, other) = (create(&client, &json!({})), create(&client, &json!({})));
    let (mine, others) = (token(&client, &id), token(&client, &other));
    let ran = json!({"stdout": "in\n", "stderr": "", "code": 0});
    let edge = |client: &Client, id: &str| client.with_header("X-Routing-Key", id);
    let bearer = |token: &str| server.with_header("Authorization", &format!("Bearer {token}"));
    for holder in [bearer(&mine), server.with_header("X-EXECD-ACCESS-TOKEN", &mine), client.clone()] {
        assert_eq!(run(&holder, &executor(&id, "/run")), ran);
        assert_eq!(run(&edge(&holder, &id), "/koyeb-sandbox/run"), ran);
    }
    let unknown = "c0ffee00-0000-4000-8000-000000000001";
    for wrong in [
        server.with_header("x-none", ""),
        bearer(&others),
        bearer(&mine[..63]),
        bearer("x"),
        server.with_header("Authorization", &format!("bearer {mine}")),
        server.with_header("Authorization", &mine),
    ] {
        for id in [id.as_str(), unknown, "x"] {
            let body = json!({"cmd": 1});
            is_text(&wrong.post(&executor(id, "/run"), &body), 401, "Unauthorized");
            is_text(&edge(&wrong, id).post("/koyeb-sandbox/run", &body), 401, "Unauthorized");
            is_text(&wrong.get(&format!("/r/{id}/")), 401, "Unauthorized");
        }
        is_text(&wrong.get("/koyeb-sandbox/list_processes"), 401, "Unauthorized");
    }
    let stranger = keyed(&server);
    for (who, id) in [(&stranger, id.as_str()), (&client, unknown), (&client, "x")] {
        is_text(&who.get(&executor(id, "/list_processes")), 404, "Sandbox not found");
        is_text(&edge(who, id).get("/koyeb-sandbox/list_processes"), 404, "Sandbox not found");
        is_text(&who.get(&format!("/r/{id}/")), 404, "Sandbox not found");
    }
    is_text(
        &client.get("/koyeb-sandbox/list_processes"),
        400,
        "The header X-Routing-Key must name a sandbox",
    );
    // What the token is for, it opens; nothing else.
    error(&bearer(&mine).get(&format!("/v1/sandboxes/{id}")), 401);
}

#[test]
fn health_tells_strangers_nothing_of_a_sandbox() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    for id in [id.as_str(), "c0ffee00-0000-4000-8000-000000000001", "x", ""] {
        let answer = server.with_header("X-Routing-Key", id).get("/koyeb-sandbox/health");
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{id}");
    }
    is_text(&server.get(&executor(&id, "/health")), 401, "Unauthorized");
    let client = client.with_header("X-Routing-Key", &id);
    assert_eq!(client.get("/koyeb-sandbox/health").ok(), json!({"status": "ok"}));
    assert_eq!(client.get(&executor(&id, "/health")).ok(), json!({"status": "ok"}));
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    is_text(&client.get("/koyeb-sandbox/health"), 404, "Sandbox not found");
}

#[test]
fn tokens_as_bearers_are_no_wrong_keys() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    let holder = server.with_header("Authorization", &format!("Bearer {}", token(&client, &id)));
    for _ in 0..40 {
        assert_eq!(holder.get(&executor(&id, "/list_processes")).status, 200);
    }
    // Of those too many would have been counted by now.
    is_text(
        &server.with_header("Authorization", "Bearer wrong").get(&executor(&id, "/run")),
        401,
        "Unauthorized",
    );
}

#[test]
fn what_the_executor_answers_passes_as_it_is() {
    let (_server, client) = start();
    let id = create(&client, &json!({}));
    is_text(&client.post(&executor(&id, "/run"), &json!({"cmd": 1})), 400, "Invalid request");
    is_text(&client.get(&executor(&id, "/nope")), 404, "Not found");
    let read = client.post(&executor(&id, "/read_file"), &json!({"path": "/no/such"})).ok();
    assert_eq!(read, json!({"error": "open /no/such: no such file or directory"}));
    let stream = client.post(&executor(&id, "/run_streaming"), &json!({"cmd": "echo $PPID; exit 2"}));
    let expected = "event: output\ndata: {\"stream\":\"stdout\",\"data\":\"1\"}\n\nevent: complete\ndata: {\"code\":2,\"error\":true}\n\n";
    assert_eq!((stream.text.as_str(), stream.header("content-type")), (expected, Some("text/event-stream")));
    let much =
        client.post(&executor(&id, "/run"), &json!({"cmd": "head -c 100000000 /dev/zero | tr '\\0' x"})).ok();
    assert_eq!(much["stdout"].as_str().unwrap().len(), 100_000_000);
}

/// A server inside that echoes WebSocket-like upgrades and tells what came.
const SHOWN: &str = r#"
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self):
        if self.headers.get('Upgrade'):
            self.wfile.write(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
            while True:
                data = self.connection.recv(1 << 16)
                if not data: break
                self.connection.sendall(data[::-1])
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        told = {'method': self.command, 'path': self.path, 'bytes': len(body), 'headers': {k.lower(): v for k, v in self.headers.items()}}
        out = json.dumps(told).encode()
        self.send_response(207); self.send_header('Content-Length', str(len(out))); self.end_headers()
        self.wfile.write(out)
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever()
"#;

#[test]
fn the_bound_port_is_shown_to_who_may_enter_and_to_nobody_else() {
    let (server, client) = start();
    let id = create(&client, &json!({"entrypoint": ["python3", "-c", SHOWN]}));
    let shown = format!("/r/{id}");
    let nothing = client.get(&format!("{shown}/"));
    assert!(nothing.status == 502 && nothing.text.contains("no port is bound"), "{}", nothing.text);
    let bound = client.post(&executor(&id, "/bind_port"), &json!({"port": "8000"})).ok();
    assert_eq!(bound["success"], true);
    wait_until("it listens", || client.get(&format!("{shown}/")).status == 207);
    let mine = token(&client, &id);
    let holder = server.with_header("X-EXECD-ACCESS-TOKEN", &mine);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let body = (method != "GET").then_some(&b"body"[..]);
        let answer = holder.send(method, &format!("{shown}/a%2Fb?x=%20y"), body).unwrap();
        let told = answer.json();
        assert_eq!((&told["method"], &told["path"]), (&json!(method), &json!("/a%2Fb?x=%20y")));
        assert_eq!(told["bytes"], body.map_or(0, <[u8]>::len));
        assert_eq!(told["headers"]["x-forwarded-prefix"], shown);
        assert!(told["headers"].get("x-execd-access-token").is_none(), "{told}");
    }
    assert_eq!(holder.get(&shown).json()["path"], "/");
    is_text(&server.get(&format!("{shown}/")), 401, "Unauthorized");
    // From inside, the proxy leads there as well.
    let inside = client.post(&executor(&id, "/run"), &json!({"cmd": "python3 -c \"import urllib.request as r; print(r.urlopen('http://127.0.0.1:3031/i').read().decode())\""})).ok();
    assert!(inside["stdout"].as_str().unwrap().contains("\"path\": \"/i\""), "{inside}");
    upgrade(&server, &mine, &shown);
    assert_eq!(client.post(&executor(&id, "/unbind_port"), &json!({})).ok()["success"], true);
    assert_eq!(client.get(&format!("{shown}/")).status, 502);
}

fn upgrade(server: &Server, token: &str, shown: &str) {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "GET {shown}/ws HTTP/1.1\r\nHost: {}\r\nX-EXECD-ACCESS-TOKEN: {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        server.address()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 101"), "{line}");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    socket.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    reader.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"olleh");
}

#[test]
fn a_client_that_goes_away_ends_its_command_inside() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    let body = json!({"cmd": "echo $$; sleep 1000 & echo $!; wait"}).to_string();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        executor(&id, "/run_streaming"),
        server.address(),
        token(&client, &id),
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(socket);
    let mut pids = Vec::new();
    while pids.len() < 2 {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            pids.push(data["data"].as_str().unwrap().to_owned());
        }
    }
    drop(reader);
    let script = format!(
        "for pid in {}; do grep -qs '^State:[[:space:]]*[^Z]' /proc/$pid/status && echo $pid; done; true",
        pids.join(" ")
    );
    wait_until("they have ended", || {
        client.post(&executor(&id, "/run"), &json!({"cmd": script})).ok()["stdout"] == ""
    });
}
