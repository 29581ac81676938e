//! Stands before a registry: cuts connections, wants a token, or keeps what is asked for waiting. It speaks as much HTTP as that needs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::registry::USER;

const TOKEN: &str = "the-token";

#[derive(Clone, Default)]
struct Manner {
    /// A connection ends after so many bytes of a blob.
    cut_after: Option<usize>,
    wants_token: bool,
    /// Blobs wait.
    holds: bool,
}

pub(super) struct Front {
    address: SocketAddr,
    manner: Arc<(Mutex<Manner>, Condvar)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Front {
    pub(super) fn start(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, asked) = <(Arc<(Mutex<Manner>, Condvar)>, Arc<Mutex<Vec<String>>>)>::default();
        let front = Self { address, manner: manner.clone(), asked: asked.clone() };
        // It ends with the process of the test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (manner, asked) = (manner.clone(), asked.clone());
                thread::spawn(move || serve(client, address, registry, &manner, &asked));
            }
        });
        front
    }

    pub(super) fn cuts_after(self, bytes: usize) -> Self {
        self.manner.0.lock().unwrap().cut_after = Some(bytes);
        self
    }

    pub(super) fn wants_token(self) -> Self {
        self.manner.0.lock().unwrap().wants_token = true;
        self
    }

    pub(super) fn holds(self) -> Self {
        self.manner.0.lock().unwrap().holds = true;
        self
    }

    /// What waits, and what comes later, is answered.
    pub(super) fn release(&self) {
        self.manner.0.lock().unwrap().holds = false;
        self.manner.1.notify_all();
    }

    pub(super) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The requests that came, with their headers.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request of a connection: the answer's end is the connection's.
fn serve(
    mut client: TcpStream,
    here: SocketAddr,
    registry: SocketAddr,
    (manner, released): &(Mutex<Manner>, Condvar),
    asked: &Mutex<Vec<String>>,
) {
    let mut head = String::new();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    asked.lock().unwrap().push(head.clone());
    let is_blob = head.contains("/blobs/");
    let manner = released.wait_while(manner.lock().unwrap(), |manner| is_blob && manner.holds).unwrap();
    let Manner { cut_after, wants_token, .. } = manner.clone();
    drop(manner);
    if wants_token && let Some(answer) = login(&head, here) {
        let _ = client.write_all(answer.as_bytes());
        return;
    }
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut upstream = TcpStream::connect(registry).unwrap();
    upstream.write_all(head.as_bytes()).unwrap();
    let limit = cut_after.filter(|_| is_blob).unwrap_or(usize::MAX);
    let _ = std::io::copy(&mut upstream.take(limit as u64), &mut client);
}

/// What is answered instead of what was asked for.
fn login(head: &str, here: SocketAddr) -> Option<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let basic = BASE64_STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    let has = |value: &str| {
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.into_iter().any(|(name, found)| name.eq_ignore_ascii_case("authorization") && found == value)
    };
    let answer = |status: &str, header: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{header}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    if head.starts_with("GET /token?") {
        return Some(if has(&format!("Basic {basic}")) {
            answer("200 OK", "", &format!("{{\"token\": \"{TOKEN}\"}}"))
        } else {
            answer("401 Unauthorized", "", "")
        });
    }
    if has(&format!("Bearer {TOKEN}")) {
        return None;
    }
    let challenge =
        format!("www-authenticate: Bearer realm=\"http://{here}/token\",service=\"test service\"\r\n");
    Some(answer("401 Unauthorized", &challenge, ""))
}
