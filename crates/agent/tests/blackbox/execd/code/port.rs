//! The port on which clients look whether code is run.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
};

use protocol::{
    GuestPath,
    agent::{Event, HttpDialect, Request},
    limits::Limits,
};

use crate::{
    http::{Answer, TOKEN, request_bytes},
    wire::eventually,
};

struct Told(Child, BufReader<ChildStderr>);

impl Told {
    fn start(words: &[&str], port: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_atoll-agent"))
            .args(words)
            .env("JUPYTER_PORT", port)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(process.stderr.take().unwrap());
        Self(process, told)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        line
    }

    fn children(&self) -> usize {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().count()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: &str, headers: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request_bytes("GET", "/ping", headers, b"")).unwrap();
    Answer::read(stream)
}

#[test]
fn it_is_listened_on_and_who_connects_has_python_made_ready() {
    let mut agent = Told::start(&["--listen", "127.0.0.1:0", "--token", TOKEN], "0");
    agent.line();
    let line = agent.line();
    let address =
        line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect(&line).to_owned();
    assert_eq!(agent.children(), 0);
    ask(&address, "").assert_error(401, "UNAUTHORIZED", "TOKEN");
    assert_eq!(ask(&address, &format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n")).status, 200);
    eventually("the template is there, and what it has forked", || agent.children() == 2);
}

#[test]
fn an_agent_that_can_not_listen_there_says_so_and_goes_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut agent = Told::start(&["--listen", "127.0.0.1:0", "--token", TOKEN], &port.to_string());
    let address = agent.line().trim().rsplit_once("http://").unwrap().1.to_owned();
    let line = agent.line();
    assert!(line.contains(&format!("127.0.0.1:{port}")) && line.contains("JUPYTER_PORT"), "{line}");
    assert_eq!(ask(&address, &format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n")).status, 200);
}

#[test]
fn inside_of_a_sandbox_it_is_there_from_the_first_http_connection_on_and_answers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    // What the server says of the sandbox counts, and not what the agent was started with.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut agent = Told::start(&["--unix", socket.to_str().unwrap()], &port.to_string());
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut connection = crate::wire::Connection::new(&socket);
    assert_eq!(connection.ask(&Request::Ping), Event::Pong);
    assert_eq!(agent.children(), 0);
    let env = vec![("JUPYTER_PORT".to_owned(), "0".to_owned())];
    let (limits, cwd) = (Limits::default(), GuestPath::absolute("/").unwrap());
    assert_eq!(
        connection.ask(&Request::Http { dialect: HttpDialect::Execd, limits, env, cwd, user: None }),
        Event::Done
    );
    let line = agent.line();
    assert!(line.contains("code is run here"), "{line}");
    let address =
        line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).expect(&line).to_owned();
    ask(&address, &format!("X-EXECD-ACCESS-TOKEN: {TOKEN}\r\n")).assert_error(
        403,
        "FORBIDDEN",
        "nothing is answered",
    );
}
