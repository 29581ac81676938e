//! OpenSandbox's API: sandboxes from create to ping, pauses, commands, code, large files; beside `cp`, and where a Python
//! is given that has them, beside ipykernel and through the published client.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    failure::{During, Failure, Outcome},
    http::{self, Connection},
    samples::Samples,
    server::Server,
};

/// The bytes of a large file, and of a piece of it.
const LARGE_BYTES: u64 = 1 << 30;
const PIECE_BYTES: usize = 1 << 20;
/// How often one is moved.
const LARGE_TIMES: usize = 3;
/// Measures what needs Python.
const CLIENTS: &str = include_str!("clients.py");

/// The times.
#[derive(Default)]
pub(crate) struct Times {
    /// With the image that is always there, and with one that was imported.
    pub(crate) create: Samples,
    pub(crate) create_imported: Samples,
    pub(crate) pause: Samples,
    pub(crate) resume: Samples,
    pub(crate) command: Samples,
    pub(crate) code_hot: Samples,
    pub(crate) code_fresh: Samples,
    pub(crate) ipykernel_hot: Samples,
    pub(crate) ipykernel_fresh: Samples,
    pub(crate) client_ping: Samples,
    pub(crate) client_echo: Samples,
    pub(crate) copy: Samples,
    pub(crate) upload: Samples,
    pub(crate) download: Samples,
}

#[derive(Deserialize)]
pub(crate) struct Made {
    pub(crate) id: String,
}

/// One sandbox, and the way to it.
struct Entered<'a> {
    connection: &'a mut Connection,
    key: &'a str,
    id: String,
}

/// What most sandboxes are made from, and what their entrypoint runs.
pub(crate) const HOST: &str = "host";
const PROGRAM: &str = "/usr/bin/tail";

/// The body of the request that makes a sandbox.
pub(crate) fn creation(image: &str) -> String {
    let limits = r#"{"cpu":"2","memory":"2Gi","disk":"4Gi"}"#;
    format!(
        r#"{{"image":{{"uri":"{image}"}},"timeout":600,"resourceLimits":{limits},"env":{{}},"metadata":{{}},"entrypoint":["{PROGRAM}","-f","/dev/null"]}}"#
    )
}

impl<'a> Entered<'a> {
    fn create(connection: &'a mut Connection, key: &'a str, image: &str) -> Outcome<Self> {
        let answer = connection.ask(&http::request_with_key("POST", "/v1/sandboxes", key, &creation(image)));
        let answer = answer.during("make a sandbox")?;
        if answer.status != 202 {
            return Err(Failure::new("make a sandbox", answer.body));
        }
        let Made { id } =
            serde_json::from_str(&answer.body).during("read the answer of POST /v1/sandboxes")?;
        Ok(Self { connection, key, id })
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Outcome<String> {
        let path = format!("/v1/sandboxes/{}{path}", self.id);
        let what = format!("{method} {path}");
        let answer = self.connection.ask(&http::request_with_key(method, &path, self.key, body));
        let answer = answer.during(&what)?;
        if answer.status < 300 { Ok(answer.body) } else { Err(Failure::new(&what, answer.body)) }
    }

    fn execd(&mut self, method: &str, path: &str, body: &str) -> Outcome<String> {
        self.ask(method, &format!("/proxy/44772{path}"), body)
    }

    fn timed(&mut self, method: &str, path: &str, body: &str, expected: &str) -> Outcome<Duration> {
        let start = Instant::now();
        let answer = self.execd(method, path, body)?;
        let took = start.elapsed();
        if answer.contains(expected) { Ok(took) } else { Err(Failure::new(path, answer)) }
    }

    fn delete(mut self) -> Outcome<()> {
        self.ask("DELETE", "", "").map(drop)
    }
}

/// Measures everything, most of it so many times.
pub(crate) fn measure(server: &Server, runs: usize, python: Option<&Path>) -> Outcome<Times> {
    let mut times = Times::default();
    let key = server.key_create()?;
    let mut connection = server.connect()?;
    let imported = server.image_import(PROGRAM)?;
    for run in 0..=runs {
        for (image, samples) in [(HOST, &mut times.create), (imported, &mut times.create_imported)] {
            let start = Instant::now();
            let mut entered = Entered::create(&mut connection, &key, image)?;
            entered.execd("GET", "/ping", "")?;
            let took = start.elapsed();
            // The first has nothing warm.
            if run > 0 {
                samples.push(took);
            }
            entered.delete()?;
        }
    }
    let mut entered = Entered::create(&mut connection, &key, HOST)?;
    for _ in 0..runs {
        for (path, samples) in [("/pause", &mut times.pause), ("/resume", &mut times.resume)] {
            let start = Instant::now();
            entered.ask("POST", path, "")?;
            samples.push(start.elapsed());
        }
    }
    for _ in 0..runs {
        times.command.push(entered.timed(
            "POST",
            "/command",
            r#"{"command":"true"}"#,
            "execution_complete",
        )?);
    }
    code(&mut entered, runs, &mut times)?;
    large(&mut entered, server, &mut times)?;
    entered.delete()?;
    if let Some(python) = python {
        clients(server, &key, runs, python, &mut times)?;
    }
    Ok(times)
}

fn code(entered: &mut Entered<'_>, runs: usize, times: &mut Times) -> Outcome<()> {
    let sum = r#"{"code":"1+1","context":{"language":"python"}}"#;
    // The first one starts what is kept warm from then on.
    entered.execd("POST", "/code", sum)?;
    for _ in 0..runs {
        times.code_hot.push(entered.timed("POST", "/code", sum, r#""2""#)?);
    }
    for _ in 0..runs {
        let start = Instant::now();
        let made = entered.execd("POST", "/code/context", r#"{"language":"python"}"#)?;
        let Made { id } = serde_json::from_str(&made).during("read the answer of POST /code/context")?;
        let sum = format!(r#"{{"code":"1+1","context":{{"id":"{id}","language":"python"}}}}"#);
        entered.timed("POST", "/code", &sum, r#""2""#)?;
        times.code_fresh.push(start.elapsed());
        entered.execd("DELETE", &format!("/code/contexts/{id}"), "")?;
    }
    Ok(())
}

/// Large files in and out, in turns with `cp` on the file system that they lie on.
fn large(entered: &mut Entered<'_>, server: &Server, times: &mut Times) -> Outcome<()> {
    let piece = vec![0x5a; PIECE_BYTES];
    let (from, to) = (server.storage().join("bench-from"), server.storage().join("bench-to"));
    let mut file = File::create(&from).during("make a large file")?;
    for _ in 0..LARGE_BYTES / PIECE_BYTES as u64 {
        file.write_all(&piece).during("write a large file")?;
    }
    drop(file);
    for _ in 0..LARGE_TIMES {
        let start = Instant::now();
        // Not `std::fs::copy`, which shares the bytes where the file system can.
        let copied =
            Command::new("cp").arg("--reflink=never").args([&from, &to]).status().during("run cp")?;
        if !copied.success() {
            return Err(Failure::new("run cp", copied.to_string()));
        }
        times.copy.push(start.elapsed());
        std::fs::remove_file(&to).during("remove a large file")?;
        times.upload.push(upload(entered, &piece)?);
        let start = Instant::now();
        download(entered).during("download a large file")?;
        times.download.push(start.elapsed());
        entered.execd("DELETE", "/files?path=/sandbox/large", "")?;
    }
    std::fs::remove_file(&from).during("remove a large file")
}

fn upload(entered: &mut Entered<'_>, piece: &[u8]) -> Outcome<Duration> {
    let before = "--limit\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"metadata\"\r\n\
                  Content-Type: application/json\r\n\r\n{\"path\":\"/sandbox/large\",\"mode\":644}\r\n--limit\r\n\
                  Content-Disposition: form-data; name=\"file\"; filename=\"large\"\r\n\
                  Content-Type: application/octet-stream\r\n\r\n";
    let after = "\r\n--limit--\r\n";
    let length = (before.len() + after.len()) as u64 + LARGE_BYTES;
    let path = format!("/v1/sandboxes/{}/proxy/44772/files/upload", entered.id);
    let more = format!("Content-Type: multipart/form-data; boundary=limit\r\nContent-Length: {length}\r\n");
    let head = http::head_with_key("POST", &path, entered.key, &more);
    let start = Instant::now();
    let sent = (|| {
        entered.connection.send(&head)?;
        entered.connection.send(before.as_bytes())?;
        for _ in 0..LARGE_BYTES / PIECE_BYTES as u64 {
            entered.connection.send(piece)?;
        }
        entered.connection.ask(after.as_bytes())
    })();
    let answer = sent.during("upload a large file")?;
    if answer.status == 200 {
        Ok(start.elapsed())
    } else {
        Err(Failure::new("upload a large file", answer.body))
    }
}

fn download(entered: &mut Entered<'_>) -> io::Result<()> {
    let path = format!("/v1/sandboxes/{}/proxy/44772/files/download?path=/sandbox/large", entered.id);
    entered.connection.send(&http::head_with_key("GET", &path, entered.key, ""))?;
    entered.connection.skip_answer()
}

#[derive(Deserialize)]
struct Timed {
    what: String,
    seconds: f64,
}

fn clients(server: &Server, key: &str, runs: usize, python: &Path, times: &mut Times) -> Outcome<()> {
    let output = Command::new(python)
        .args(["-c", CLIENTS, &server.address.to_string(), key, &runs.to_string()])
        .output()
        .during(&format!("run {}", python.display()))?;
    if !output.status.success() {
        return Err(Failure::new("measure with Python", String::from_utf8_lossy(&output.stderr)));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Timed { what, seconds } = serde_json::from_str(line).during("read what Python measured")?;
        let samples = match what.as_str() {
            "ping" => &mut times.client_ping,
            "echo" => &mut times.client_echo,
            "ipykernel_hot" => &mut times.ipykernel_hot,
            "ipykernel_fresh" => &mut times.ipykernel_fresh,
            _ => continue,
        };
        samples.push(Duration::from_secs_f64(seconds));
    }
    Ok(())
}
