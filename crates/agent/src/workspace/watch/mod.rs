//! Tells a connection what changes below a folder: inotify(7) on every folder.
//!
//! What waits is bounded: by the kernel's queue (16,384 events as a rule), by [`merge`], and by how many folders are
//! watched. What does not fit becomes one [`protocol::workspace::ChangeKind::Everything`].
//!
//! It must not know who watches. File system calls are made on the [`Worker`]'s thread, in steps.

mod folders;
mod merge;

use std::time::Duration;

use protocol::{
    GuestPath,
    agent::{Event, Failure, FailureKind},
    workspace::Change,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep, sleep_until},
};

use super::{list_send, lists_of};
use crate::{
    failure::failure,
    files::Worker,
    sys,
    wire::{FrameReader, FrameWriter, WireError},
};
use folders::Watcher;

/// How long changes are gathered before they are told.
const GATHER: Duration = Duration::from_millis(50);
/// How often everything may have changed where not all can be watched.
const BLIND: Duration = Duration::from_secs(5);

/// Watches until the connection is closed.
///
/// # Errors
/// [`WireError`], also for a request that comes meanwhile; a [`Failure`] inside when the folder can't be watched any
/// more.
pub(crate) async fn watch(
    worker: &Worker,
    reader: &mut FrameReader<'_>,
    writer: FrameWriter<'_>,
    root: GuestPath,
) -> Result<Result<(), Failure>, WireError> {
    let begun = async {
        let watcher = worker.run(move || Watcher::open(&root)).await?;
        settled(worker, watcher).await
    };
    let told_to_end = async |reader: &mut FrameReader<'_>| match reader.header().await? {
        Some(header) => Err(WireError::Unexpected(header.kind)),
        None => Ok(()),
    };
    let mut watcher = match begun.await {
        Ok(watcher) => watcher,
        Err(failure) => return Ok(Err(failure)),
    };
    let events = match watcher.events_fd().and_then(sys::descriptor_watch) {
        Ok(events) => events,
        Err(error) => return Ok(Err(crate::failure::failure_os("watch", &error))),
    };
    // What was there before is nobody's news.
    watcher.changes.take();
    writer.event(&Event::Done).await?;
    let mut blind_until = Instant::now() + BLIND;
    loop {
        tokio::select! {
            ended = told_to_end(reader) => return ended.map(Ok),
            ready = events_await(&events) => if ready.is_err() { return Ok(Err(gone())) },
            () = sleep_until(blind_until), if watcher.is_blind => watcher.changes.everything(),
        }
        sleep(GATHER).await;
        let read = worker
            .run(move || {
                watcher.read();
                Ok(watcher)
            })
            .await;
        watcher = match async { settled(worker, read?).await }.await {
            Ok(watcher) => watcher,
            Err(failure) => return Ok(Err(failure)),
        };
        let changes = watcher.changes.take();
        if changes.first().is_some_and(|change| change.kind == protocol::workspace::ChangeKind::Everything) {
            blind_until = Instant::now() + BLIND;
        }
        for list in lists_of(changes, bytes_of) {
            list_send(writer, &list).await?;
        }
        if watcher.is_gone {
            return Ok(Err(gone()));
        }
    }
}

fn gone() -> Failure {
    failure(FailureKind::NotFound, "watch: the folder is gone, or has another name")
}

/// Waits until something happened. What happens after this has returned wakes it again.
async fn events_await(events: &AsyncFd<std::os::fd::OwnedFd>) -> std::io::Result<()> {
    events.ready(Interest::READABLE).await?.clear_ready();
    Ok(())
}

/// Goes into the folders that were found.
async fn settled(worker: &Worker, mut watcher: Watcher) -> Result<Watcher, Failure> {
    while watcher.has_more() {
        watcher = worker
            .run(move || {
                watcher.step();
                Ok(watcher)
            })
            .await?;
    }
    Ok(watcher)
}

/// What a change takes in a frame, at most.
fn bytes_of(change: &Change) -> usize {
    let from = match &change.kind {
        protocol::workspace::ChangeKind::Moved { from } => from.len(),
        _ => 0,
    };
    change.path.len() + from + 16
}
