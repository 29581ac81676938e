//! Files: written, read as text, deleted. What fails is told in an answer that is none of HTTP's errors.

use std::{fs::File, io::Write, os::unix::fs::MetadataExt, rc::Rc, sync::Arc};

use protocol::agent::{Failure, FailureKind};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchown, open, unlinkat},
    io::Errno,
};

use super::{
    told,
    types::{Content, Done, ErrorReply, PathRequest, WriteRequest},
    utf8::Utf8,
    value_of,
};
use crate::{
    agent::Agent,
    failure::{failure, failure_os},
    files::Owner,
    http::{
        Gone, HttpError, Incoming, PIECE_BYTES, Pieces, Reply, body_stream, json, json_pieces, piece_read,
    },
    surroundings::owner,
};

/// Permission bits of a new file.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o644);

/// `POST /write_file`
pub(super) async fn write(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let WriteRequest { path, content } = value_of(request).await?;
    let written = match owner(agent).await {
        Ok(owner) => agent.files.run(move || content_write(&path, content.as_bytes(), owner)).await,
        Err(failure) => Err(failure),
    };
    Ok(done(written))
}

fn content_write(path: &str, content: &[u8], owner: Option<Owner>) -> Result<(), Failure> {
    // Without O_NONBLOCK, opening a FIFO waits for a reader: open(2).
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let new = open(path, flags | OFlags::CREATE | OFlags::EXCL, FILE_MODE);
    let (opened, is_new) = match new {
        // A symbolic link that leads to nothing is there as well.
        Err(Errno::EXIST) => (open(path, flags | OFlags::CREATE | OFlags::TRUNC, FILE_MODE), false),
        opened => (opened, true),
    };
    let mut file = opened.map(File::from).map_err(|errno| open_failed(path, errno))?;
    if let Some((uid, gid)) = owner.filter(|_| is_new) {
        // Where that can't be, it is the agent's.
        let _ = fchown(&file, Some(uid), Some(gid));
    }
    file.write_all(content).map_err(|error| failure_os(format_args!("write {path}"), &error))
}

/// `POST /read_file`
pub(super) async fn read(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let PathRequest { path } = value_of(request).await?;
    let named = path.clone();
    let opened = agent.files.run(move || text_open(&named)).await;
    Ok(match opened {
        Ok((_, first, true)) => {
            // It was found to be text.
            json(&Content { content: std::str::from_utf8(&first).unwrap_or_default() })
        }
        Ok((file, _, false)) => {
            let (file, source) = (Arc::new(file), Rc::clone(agent));
            match text_check(agent, &path, &file).await {
                Ok(()) => {
                    let (pieces, body) = body_stream(None);
                    tokio::task::spawn_local(async move {
                        match text_send(&source, &file, &pieces).await {
                            Ok(last) => pieces.end(last).await,
                            Err(Gone) => pieces.fail().await,
                        }
                    });
                    json_pieces(body)
                }
                Err(failure) => json(&ErrorReply { error: told(failure) }),
            }
        }
        Err(failure) => json(&ErrorReply { error: told(failure) }),
    })
}

/// The file, its first piece, and whether that is all, and text.
fn text_open(path: &str) -> Result<(File, Vec<u8>, bool), Failure> {
    // Without O_NONBLOCK, opening a FIFO waits for a writer: open(2).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map(File::from).map_err(|errno| open_failed(path, errno))?;
    let found = file.metadata().map_err(|error| failure_os(format_args!("read {path}"), &error))?;
    if found.is_dir() {
        return Err(failure_os(format_args!("read {path}"), &Errno::ISDIR.into()));
    }
    if !found.is_file() {
        return Err(failure(FailureKind::WrongType, format!("read {path}: not a regular file")));
    }
    // Files of the kernel have no size.
    let is_small = found.size() < PIECE_BYTES as u64;
    let first = if is_small {
        piece_read(&file, 0, PIECE_BYTES).map_err(|failure| named(failure, path))?.to_vec()
    } else {
        Vec::new()
    };
    let is_all = is_small && first.len() as u64 == found.size();
    if is_all && std::str::from_utf8(&first).is_err() {
        return Err(not_text(path));
    }
    Ok((file, first, is_all))
}

/// Goes through a large file before anything is said of it.
async fn text_check(agent: &Agent, path: &str, file: &Arc<File>) -> Result<(), Failure> {
    let (mut offset, mut begun) = (0, Vec::new());
    loop {
        let (source, at) = (Arc::clone(file), offset);
        let read = agent.files.run(move || piece_read(&source, at, PIECE_BYTES)).await;
        let piece = read.map_err(|failure| named(failure, path))?;
        if piece.is_empty() {
            return if begun.is_empty() { Ok(()) } else { Err(not_text(path)) };
        }
        offset += piece.len() as u64;
        begun.extend_from_slice(&piece);
        begun = match std::str::from_utf8(&begun) {
            Ok(_) => Vec::new(),
            Err(error) if error.error_len().is_none() => begun.split_off(error.valid_up_to()),
            Err(_) => return Err(not_text(path)),
        };
    }
}

/// Sends a file's text in JSON, but for the end.
async fn text_send(agent: &Agent, file: &Arc<File>, pieces: &Pieces) -> Result<Vec<u8>, Gone> {
    let (mut offset, mut text, mut out) = (0, Utf8::default(), br#"{"content":""#.to_vec());
    loop {
        let (source, at) = (Arc::clone(file), offset);
        let piece = agent.files.run(move || piece_read(&source, at, PIECE_BYTES)).await.map_err(|_| Gone)?;
        if piece.is_empty() {
            text.end(&mut out);
            out.extend(br#""}"#);
            return Ok(out);
        }
        offset += piece.len() as u64;
        text.push(&piece, &mut out);
        pieces.send(std::mem::take(&mut out)).await?;
    }
}

/// `POST /delete_file`
pub(super) async fn delete(agent: &Rc<Agent>, request: Incoming) -> Result<Reply, HttpError> {
    let PathRequest { path } = value_of(request).await?;
    let remove = move || {
        let removed = match unlinkat(CWD, path.as_str(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => match unlinkat(CWD, path.as_str(), AtFlags::REMOVEDIR) {
                Err(Errno::NOTDIR) => Err(Errno::PERM),
                removed => removed,
            },
            removed => removed,
        };
        removed.map_err(|errno| failure_os(format_args!("remove {path}"), &errno.into()))
    };
    Ok(done(agent.files.run(remove).await))
}

/// The answer to what is done or not.
pub(super) fn done(outcome: Result<(), Failure>) -> Reply {
    let error = outcome.err().map(told);
    json(&Done { success: error.is_none(), error })
}

/// Why a path can't be opened. Names that are no text are listed with a replacement, under which nothing is found.
pub(super) fn open_failed(path: &str, errno: Errno) -> Failure {
    let mut failed = failure_os(format_args!("open {path}"), &errno.into());
    if errno == Errno::NOENT && path.contains('\u{FFFD}') {
        failed.message.push_str(" (a name that is no UTF-8 can't be given here; use a command)");
    }
    failed
}

/// The same failure of this file.
fn named(failure: Failure, path: &str) -> Failure {
    let message = failure.message.replacen("read a file", &format!("read {path}"), 1);
    Failure { message, ..failure }
}

fn not_text(path: &str) -> Failure {
    let message =
        format!("read {path}: the file is binary, not UTF-8 text; read it by a command, such as base64");
    failure(FailureKind::Invalid, message)
}
