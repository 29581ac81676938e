//! What is below a folder, for people who work there: named relative to it, and never outside.
//!
//! [`place`] finds out where a name leads: openat2(2) holds that nothing leaves the folder, by `..`, an absolute path
//! or a link, whatever programs beside move around meanwhile. Links that stay below are followed, as an editor would.

mod list;
mod place;
mod remove;
mod watch;

use std::{fs::File, os::unix::fs::MetadataExt};

use protocol::{
    GuestPath,
    agent::{Event, Failure, FailureKind},
    entry_name::shown,
    frame::{self, Kind},
};
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

pub(crate) use list::workspace_tree;
pub(crate) use place::Place;
pub(crate) use remove::workspace_remove;
pub(crate) use watch::watch;

use crate::{
    failure::{failure, failure_os},
    files::{self, MODE_BITS, Worker},
    wire::{FrameWriter, WireError},
};

/// How much a list in one frame has, and the most that one item of it adds: a frame has room for both.
const LIST_BYTES: usize = 48 << 10;

/// Sends a list as one frame.
///
/// # Errors
/// [`WireError`].
pub(crate) async fn list_send<T: Serialize>(writer: FrameWriter<'_>, list: &[T]) -> Result<(), WireError> {
    writer.frame(Kind::Output, &frame::encode_payload(&list)?).await
}

/// Cuts a list into such as fit into a frame each, given what an item takes at most.
pub(crate) fn lists_of<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut lists = Vec::new();
    let (mut list, mut held) = (Vec::new(), 0);
    for item in items {
        held += bytes(&item);
        list.push(item);
        if held >= LIST_BYTES {
            lists.push(std::mem::take(&mut list));
            held = 0;
        }
    }
    if !list.is_empty() {
        lists.push(list);
    }
    lists
}

/// Sends a file below a folder, as [`files::file_read`] does.
///
/// # Errors
/// [`WireError`] when the connection breaks; a [`Failure`] inside when the file can't be read.
pub(crate) async fn workspace_read(
    worker: &Worker,
    writer: FrameWriter<'_>,
    root: GuestPath,
    path: Vec<u8>,
    bytes_max: u64,
) -> Result<Result<(), Failure>, WireError> {
    let what = format!("read {}", shown(&path));
    let told = what.clone();
    let opened = worker.run(move || file_open(&root, &path, &told, bytes_max)).await;
    let (file, size_bytes, mode) = match opened {
        Ok(opened) => opened,
        Err(failure) => return Ok(Err(failure)),
    };
    writer.event(&Event::FileOpened { size_bytes, mode }).await?;
    // One byte more tells that it has grown since.
    files::file_send(worker, writer, what, file, 0, bytes_max.saturating_add(1)).await
}

fn file_open(root: &GuestPath, path: &[u8], what: &str, bytes_max: u64) -> Result<(File, u64, u32), Failure> {
    let path = place::path_check(path, what)?;
    let root = place::root_open(root)?;
    // Without O_NONBLOCK, opening a FIFO waits for a writer: open(2).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = place::open_below(&root, &path, flags, Mode::empty())
        .map_err(|errno| place::failure_of(what, errno))?
        .into();
    let found = file.metadata().map_err(|error| failure_os(what, &error))?;
    if found.is_dir() {
        return Err(failure(FailureKind::Folder, format!("{what}: it is a folder")));
    }
    if !found.is_file() {
        return Err(failure(FailureKind::WrongType, format!("{what}: it is not a regular file")));
    }
    if found.size() > bytes_max {
        let text = format!("{what}: it has {} bytes, more than {bytes_max}", found.size());
        return Err(failure(FailureKind::TooLarge, text));
    }
    Ok((file, found.size(), found.mode() & MODE_BITS))
}
