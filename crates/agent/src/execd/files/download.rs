//! Sends a file: whole, a range of bytes, or some lines.

use std::{fs::File, rc::Rc, sync::Arc};

use hyper::{
    StatusCode,
    header::{self, HeaderValue},
};
use protocol::GuestPath;

use super::{
    path_of,
    range::{Wanted, range_parse},
};
use crate::{
    agent::Agent,
    files::file_open,
    http::{
        HttpError, Incoming, Outgoing, PIECE_BYTES, Query, Reply, body_stream, file_body, octets, piece_read,
        text,
    },
};

/// `GET /files/download?path=`
pub(in crate::execd) async fn file_download(
    agent: &Rc<Agent>,
    request: &Incoming,
    query: &Query,
) -> Result<Reply, HttpError> {
    let path = path_of(query.required("path")?)?;
    let lines = (line_number(query, "offset")?, line_number(query, "limit")?);
    let range = request.headers().get(header::RANGE);
    if range.is_some() && lines != (None, None) {
        return Err(HttpError::query("`offset` and `limit` can't be given together with the header Range"));
    }
    let source = path.clone();
    let (file, size, _) = agent.files.run(move || file_open(&source)).await?;
    let file = Arc::new(file);
    if lines != (None, None) {
        let skip = lines.0.unwrap_or(1) - 1;
        return Ok(text(lines_body(agent, file, skip, lines.1.unwrap_or(u64::MAX))));
    }
    let wanted = range.map_or(Wanted::Whole, |range| range_parse(range.to_str().unwrap_or_default(), size));
    match wanted {
        Wanted::Whole => Ok(octets_of(&path, file_body(agent, file, 0, size))),
        Wanted::Part { offset, length } => {
            let mut reply = octets_of(&path, file_body(agent, file, offset, length));
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            if let Ok(value) = format!("bytes {offset}-{}/{size}", offset + length - 1).parse() {
                reply.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            Ok(reply)
        }
        Wanted::Unsatisfiable => {
            let message = format!("the file has {size} bytes, and none that the header Range asks for");
            Err(HttpError::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", message)
                .with_header(header::CONTENT_RANGE, format!("bytes */{size}")))
        }
    }
}

/// A number of lines; there is no line 0.
fn line_number(query: &Query, name: &str) -> Result<Option<u64>, HttpError> {
    match query.parsed(name)? {
        Some(0) => Err(HttpError::query(format!("the parameter `{name}` must be at least 1"))),
        number => Ok(number),
    }
}

fn octets_of(path: &GuestPath, body: Outgoing) -> Reply {
    let mut reply = octets(body);
    reply.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // RFC 8187: what is no plain character is escaped.
    let name: String = form_urlencoded::byte_serialize(path.file_name().unwrap_or_default().as_bytes())
        .collect::<String>()
        .replace('+', "%20")
        .replace('*', "%2A");
    if let Ok(value) = format!("attachment; filename*=UTF-8''{name}").parse() {
        reply.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    reply
}

/// The lines after `skip` others, `limit` at most.
fn lines_body(agent: &Rc<Agent>, file: Arc<File>, skip: u64, limit: u64) -> Outgoing {
    let (pieces, body) = body_stream(None);
    let agent = Rc::clone(agent);
    tokio::task::spawn_local(async move {
        let (mut skip, mut limit, mut offset) = (skip, limit, 0);
        while limit > 0 {
            let source = Arc::clone(&file);
            let Ok(piece) = agent.files.run(move || piece_read(&source, offset, PIECE_BYTES)).await else {
                return pieces.fail().await;
            };
            if piece.is_empty() {
                return;
            }
            offset += piece.len() as u64;
            let begin = lines_end(&piece, &mut skip);
            let end = begin + lines_end(&piece[begin..], &mut limit);
            if begin < end && pieces.send(piece.slice(begin..end)).await.is_err() {
                return;
            }
        }
    });
    body
}

/// Where the next `count` lines end, or the piece; counts those down that end in it.
fn lines_end(piece: &[u8], count: &mut u64) -> usize {
    if *count == 0 {
        return 0;
    }
    for newline in memchr::memchr_iter(b'\n', piece) {
        *count -= 1;
        if *count == 0 {
            return newline + 1;
        }
    }
    piece.len()
}
