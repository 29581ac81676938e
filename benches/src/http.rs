//! The least that a client of HTTP/1.1 (RFC 9112) needs: one connection kept alive, one request at a time.
//!
//! No library, so that what is measured is the server.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// After this long without an answer the benchmark fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The head of a request with a key whose body is sent apart.
pub(crate) fn head_with_key(method: &str, path: &str, key: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n{more}\r\n").into_bytes()
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The same with a key.
pub(crate) fn request_with_key(method: &str, path: &str, key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         X-Api-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends a part of a request.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads an answer to its end and forgets its body: it is too large to be kept.
    pub(crate) fn skip_answer(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 256 << 10];
        self.received.clear();
        let (start, length) = loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&chunk[..count]);
            if let Some(found) = length_parse(&self.received)? {
                break found;
            }
        };
        let mut left = (start + length).saturating_sub(self.received.len());
        while left > 0 {
            let most = left.min(chunk.len());
            let count = self.stream.read(&mut chunk[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= count;
        }
        Ok(())
    }

    /// Waits until what was received of an answer has this text.
    pub(crate) fn receive_until(&mut self, text: &str) -> io::Result<String> {
        self.received.clear();
        let mut chunk = [0; 4096];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&chunk[..count]);
            let received = String::from_utf8_lossy(&self.received);
            if received.contains(text) {
                return Ok(received.into_owned());
            }
        }
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request)?;
        self.received.clear();
        let mut chunk = [0; 4096];
        loop {
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&chunk[..count]);
            if let Some(answer) = answer_parse(&self.received)? {
                return Ok(answer);
            }
        }
    }
}

/// Where the body of the answer in `bytes` starts, and its length, once the head is there.
fn length_parse(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let length = length.filter(|_| head.starts_with("http/1.1 200"));
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
    length.map(|length| Some((end + 4, length))).ok_or_else(wrong)
}

/// The answer in `bytes`, once all of it is there.
fn answer_parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer with a Content-Length");
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&bytes[..end]).map_err(|_| malformed())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(malformed)?;
    let is_chunked = lines.clone().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    if is_chunked {
        let body = &bytes[end + 4..];
        // The last chunk; nothing that is measured writes these bytes itself.
        let whole = body.ends_with(b"\r\n0\r\n\r\n");
        return Ok(whole.then(|| Answer { status, body: String::from_utf8_lossy(body).into_owned() }));
    }
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .or((status == 204).then_some(0))
        .ok_or_else(malformed)?;
    let body = &bytes[end + 4..];
    if body.len() < length {
        return Ok(None);
    }
    let body = String::from_utf8_lossy(&body[..length]).into_owned();
    Ok(Some(Answer { status, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\n{}";
        assert!(answer_parse(&bytes[..bytes.len() - 1]).unwrap().is_none());
        let answer = answer_parse(bytes).unwrap().unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }

    #[test]
    fn an_answer_in_chunks_ends_with_the_last() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = |body: &str| answer_parse(format!("{head}{body}").as_bytes()).unwrap();
        assert!(answer("2\r\nhi\r\n").is_none());
        assert_eq!(answer("2\r\nhi\r\n0\r\n\r\n").unwrap().status, 200);
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(answer_parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer_parse(b"hello\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_its_length() {
        let text = String::from_utf8(request("POST", "/execute", "{}")).unwrap();
        assert!(text.starts_with("POST /execute HTTP/1.1\r\n"));
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"));
    }
}
