//! The way into a sandbox: who gets in, what passes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use blackbox::{Client, Server, deadline::wait_until};
use serde_json::json;

use super::{create, error, execd, keyed, output, start};

/// A server inside that tells of each request what came, speaks WebSocket enough to echo, and streams slowly.
const SERVER: &str = r#"
import http.server, json, base64, hashlib, time, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def answer(self):
        if self.path == '/ws':
            key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.wfile.write(('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                              'Sec-WebSocket-Accept: ' + accept + '\r\n\r\nearly').encode())
            while True:
                data = self.connection.recv(1 << 16)
                if not data: break
                self.connection.sendall(data[::-1])
            self.close_connection = True
            return
        if self.path == '/slow':
            self.send_response(200); self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()
            for n in range(3):
                self.wfile.write(b'2\r\n%d\n\r\n' % n); self.wfile.flush()
                time.sleep(0.2)
            self.wfile.write(b'0\r\n\r\n'); return
        if self.headers.get('Transfer-Encoding') == 'chunked':
            body = b''
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size); self.rfile.readline()
                if size == 0: break
        else:
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        told = {'method': self.command, 'path': self.path, 'bytes': len(body), 'sum': hashlib.sha256(body).hexdigest(),
                'headers': {k.lower(): v for k, v in self.headers.items()}}
        out = json.dumps(told).encode()
        self.send_response(207); self.send_header('X-Mine', '1'); self.send_header('Connection', 'x-hop')
        self.send_header('X-Hop', '1'); self.send_header('Content-Length', str(len(out))); self.end_headers()
        if self.command != 'HEAD': self.wfile.write(out)
    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8000), Handler).serve_forever()
"#;

fn serving(server: &Server) -> (Client, String) {
    let client = keyed(server);
    let id = create(&client, &json!({"entrypoint": ["python3", "-c", SERVER]}));
    wait_until("it listens", || client.get(&inside(&id, "/")).status == 207);
    (client, id)
}

fn inside(id: &str, path: &str) -> String {
    format!("/v1/sandboxes/{id}/proxy/8000{path}")
}

fn token(client: &Client, id: &str) -> String {
    let endpoint = client.get(&format!("/v1/sandboxes/{id}/endpoints/44772?use_server_proxy=true")).ok();
    endpoint["headers"]["X-EXECD-ACCESS-TOKEN"].as_str().unwrap().to_owned()
}

#[test]
fn an_endpoint_leads_through_this_server() {
    let (server, client) = start();
    let id = create(&client, &json!({}));
    for port in [44772, 18080, 3000] {
        let endpoint =
            client.get(&format!("/v1/sandboxes/{id}/endpoints/{port}?use_server_proxy=false")).ok();
        let expected = format!("{}/v1/sandboxes/{id}/proxy/{port}", server.address());
        assert_eq!(endpoint["endpoint"], expected);
    }
    let ping = client.get(&execd(&id, "/ping"));
    assert_eq!((ping.status, ping.header("content-length")), (200, Some("0")));
}

#[test]
fn a_token_opens_its_own_sandbox_and_nothing_else() {
    let (server, client) = start();
    let (id, other) = (create(&client, &json!({})), create(&client, &json!({})));
    let (mine, others) = (token(&client, &id), token(&client, &other));
    assert!(mine != others && mine.len() == 64, "{mine} {others}");
    let holder = server.with_header("X-EXECD-ACCESS-TOKEN", &mine);
    assert_eq!(output(&holder, &id, "echo in"), ["in"]);
    for (path, token) in [
        (execd(&other, "/ping"), mine.as_str()),
        (execd(&id, "/ping"), others.as_str()),
        (execd(&id, "/ping"), ""),
        (execd(&id, "/ping"), &mine[..63]),
        (execd("c0ffee00-0000-4000-8000-000000000001", "/ping"), mine.as_str()),
        (execd("x", "/ping"), mine.as_str()),
        (format!("/v1/sandboxes/{id}"), mine.as_str()),
        ("/v1/sandboxes".to_owned(), mine.as_str()),
    ] {
        let answer = server.with_header("X-EXECD-ACCESS-TOKEN", token).get(&path);
        assert_eq!(error(&answer, 401).0, "UNAUTHORIZED", "{path} {token}");
    }
    // A key that owns it needs no token, and a wrong one does not keep it out.
    assert_eq!(client.with_header("X-EXECD-ACCESS-TOKEN", &others).get(&execd(&id, "/ping")).status, 200);
    error(&keyed(&server).get(&execd(&id, "/ping")), 404);
    assert_eq!(client.delete(&format!("/v1/sandboxes/{id}")).status, 204);
    error(&holder.get(&execd(&id, "/ping")), 401);
}

#[test]
fn whom_a_sandbox_reaches_has_a_token_of_its_own() {
    let (server, client) = start();
    let id = create(&client, &json!({"networkPolicy": {"defaultAction": "deny"}}));
    let policy = format!("/v1/sandboxes/{id}/proxy/18080/policy");
    let endpoint = client.get(&format!("/v1/sandboxes/{id}/endpoints/18080")).ok();
    let own = endpoint["headers"]["OPENSANDBOX-EGRESS-AUTH"].as_str().unwrap();
    let holder = server.with_header("OPENSANDBOX-EGRESS-AUTH", own);
    let status = holder.get(&policy).ok();
    assert_eq!(status["policy"], json!({"defaultAction": "deny", "egress": []}));
    let rules = json!([{"action": "allow", "target": "*.example.com"}]).to_string();
    assert_eq!(holder.send("PATCH", &policy, Some(rules.as_bytes())).unwrap().ok()["mode"], "deny_all");
    let known = client.get(&format!("/v1/sandboxes/{id}/networkpolicy")).ok();
    assert_eq!(known["policy"]["egress"], json!([{"action": "allow", "target": "*.example.com"}]));
    let entered = token(&client, &id);
    for (header, token) in [("X-EXECD-ACCESS-TOKEN", entered.as_str()), ("OPENSANDBOX-EGRESS-AUTH", &entered)]
    {
        error(&server.with_header(header, token).get(&policy), 401);
    }
    error(&holder.get(&execd(&id, "/ping")), 401);
    error(&server.with_header("X-EXECD-ACCESS-TOKEN", own).get(&execd(&id, "/ping")), 401);
    error(&holder.get(&format!("/v1/sandboxes/{id}/proxy/18080/credential-vault")), 404);
}

#[test]
fn requests_and_answers_pass_as_they_are() {
    let server = Server::start();
    let (client, id) = serving(&server);
    let client = client
        .with_header("x-own", "1")
        .with_header("cookie", "secret=1")
        .with_header("x-forwarded-for", "10.9.8.7")
        .with_header("x-execd-access-token", &token(&client, &id));
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let body = (method != "GET").then_some(&b"\x00\xffbody"[..]);
        let answer = client.send(method, &inside(&id, "/a%2Fb/../c?x=%20y&z"), body).unwrap();
        assert_eq!((answer.status, answer.header("x-mine"), answer.header("x-hop")), (207, Some("1"), None));
        let told = answer.json();
        assert_eq!(told["method"], method);
        assert_eq!(told["path"], "/a%2Fb/../c?x=%20y&z");
        assert_eq!(told["bytes"], body.map_or(0, <[u8]>::len));
        let headers = &told["headers"];
        assert_eq!(headers["x-own"], "1");
        assert_eq!(headers["host"], "localhost:8000");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-host"], server.address().to_string());
        assert_eq!(headers["x-forwarded-prefix"], format!("/v1/sandboxes/{id}/proxy/8000"));
        for secret in ["open-sandbox-api-key", "cookie", "authorization", "x-execd-access-token"] {
            assert!(headers.get(secret).is_none(), "{secret}: {headers}");
        }
    }
    assert_eq!(client.send("HEAD", &inside(&id, "/"), None).unwrap().status, 207);
    assert_eq!(client.get(&inside(&id, "")).json()["path"], "/");
}

#[test]
fn large_bodies_pass_through() {
    let server = Server::start();
    let (client, id) = serving(&server);
    let body: Vec<u8> = (0..100_u32 << 20).map(|n| (n ^ (n >> 11)) as u8).collect();
    let answer = client.send("POST", &inside(&id, "/large"), Some(&body)).unwrap().json();
    assert_eq!(answer["bytes"], body.len());
    let sum = sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), &body));
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer["sum"], sum);
}

#[test]
fn a_port_without_a_listener_says_so() {
    let (_server, client) = start();
    let id = create(&client, &json!({}));
    let (code, message) = error(&client.get(&format!("/v1/sandboxes/{id}/proxy/9/x")), 502);
    assert!(code == "BACKEND_CONNECTION_FAILED" && message.contains('9'), "{code} {message}");
    // One that does not speak HTTP.
    output(
        &client,
        &id,
        "python3 -c 'import socket,time; s=socket.create_server((\"127.0.0.1\", 70)); print(1, flush=True); c,_=s.accept(); c.sendall(b\"SSH-2.0-x\\r\\n\"); c.close(); time.sleep(1000)' > /dev/null 2>&1 & disown",
    );
    wait_until("it listens", || {
        let lines = output(&client, &id, "grep -c ':0046 ' /proc/net/tcp || true");
        lines != ["0"]
    });
    assert_eq!(
        error(&client.get(&format!("/v1/sandboxes/{id}/proxy/70")), 502).0,
        "BACKEND_CONNECTION_FAILED"
    );
}

fn raw(server: &Server, client_headers: &str, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{client_headers}\r\n", server.address());
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

#[test]
fn a_websocket_passes_both_ways() {
    let server = Server::start();
    let (client, id) = serving(&server);
    let token = token(&client, &id);
    let upgrade = format!(
        "X-EXECD-ACCESS-TOKEN: {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    let socket = raw(&server, &upgrade, &inside(&id, "/ws"));
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    assert!(head[0].starts_with("http/1.1 101"), "{head:?}");
    assert!(head.iter().any(|line| line == "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head:?}");
    assert!(head.iter().any(|line| line == "upgrade: websocket"), "{head:?}");
    let mut early = [0; 5];
    reader.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    let mut socket = socket;
    for word in ["hello", "again"] {
        socket.write_all(word.as_bytes()).unwrap();
        let mut back = [0; 5];
        reader.read_exact(&mut back).unwrap();
        assert_eq!(back.iter().rev().copied().collect::<Vec<u8>>(), word.as_bytes());
    }
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reader.read(&mut early).unwrap(), 0);
}

#[test]
fn what_is_streamed_inside_comes_as_it_is_written() {
    let server = Server::start();
    let (client, id) = serving(&server);
    let socket = raw(
        &server,
        &format!("X-EXECD-ACCESS-TOKEN: {}\r\n", token(&client, &id)),
        &execd(&id, "/metrics/watch"),
    );
    let mut reader = BufReader::new(socket);
    let mut seen = 0;
    let mut line = String::new();
    while seen < 2 {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
        seen += usize::from(line.contains("mem_total_mib"));
    }
    drop(reader);
    assert_eq!(client.get(&inside(&id, "/slow")).text, "0\n1\n2\n");
}
