//! Takes a tree as input frames and has it unpacked, in steps on the file thread.

use std::{io, os::fd::OwnedFd, path::Path};

use protocol::{
    GuestPath,
    agent::{Failure, FailureKind},
    frame::Kind,
};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::{
    beneath,
    draft::{Discarded, Draft},
    entry::Entry,
    merge::merge,
    parse::{Parser, Unpack},
    remove::Removal,
    walk::PIECE_BYTES,
};
use crate::{
    failure::{failure, failure_os},
    files::{FOLDER_MODE, Worker, folders_make},
    wire::{FrameReader, WireError},
};

/// Takes input frames until their end, and puts the tree in its place once all of it has proven good. Returns
/// at the first failure: what input is left is the caller's to skip.
///
/// # Errors
/// [`WireError`] when the connection breaks before the end; a [`Failure`] inside when the archive is refused
/// or can't be unpacked. What was unpacked is removed then.
pub(crate) async fn tree_write(
    worker: &Worker,
    reader: &mut FrameReader<'_>,
    path: GuestPath,
    bytes_max: Option<u64>,
    clear: bool,
) -> Result<Result<(), Failure>, WireError> {
    if clear && path == GuestPath::root() {
        let message = "clear /: the root folder can't be replaced; name a folder below it";
        return Ok(Err(failure(FailureKind::Invalid, message)));
    }
    let mut writing = Writing { worker, tree: Some(Tree::new(path, bytes_max)), chunk: Vec::new() };
    loop {
        let Some(header) = reader.header().await? else {
            return Err(WireError::Lost(io::ErrorKind::UnexpectedEof.into()));
        };
        let done = match header.kind {
            Kind::Input => loop {
                let piece = reader.piece().await?;
                if piece.is_empty() {
                    break Ok(());
                }
                let taken = piece.len();
                writing.chunk.extend_from_slice(piece);
                reader.consume(taken);
                if writing.chunk.len() >= PIECE_BYTES
                    && let Err(failure) = writing.step(Tree::push).await
                {
                    break Err(failure);
                }
            },
            Kind::InputEnd => {
                let done = writing.commit(clear).await;
                writing.discard().await;
                return Ok(done);
            }
            kind => return Err(WireError::Unexpected(kind)),
        };
        if let Err(failure) = done {
            writing.discard().await;
            return Ok(Err(failure));
        }
    }
}

/// A write in progress, as the connection sees it.
struct Writing<'a> {
    worker: &'a Worker,
    /// `None` while a job has it, and when it is done.
    tree: Option<Tree>,
    chunk: Vec<u8>,
}

impl Writing<'_> {
    /// Has the thread do a step with the chunk, and empties the chunk.
    async fn step<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Tree, &[u8]) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Some(mut tree) = self.tree.take() else {
            return Err(failure(FailureKind::Other, "the write was interrupted"));
        };
        let chunk = std::mem::take(&mut self.chunk);
        let (tree, chunk, result) = self
            .worker
            .run(move || {
                let result = step(&mut tree, &chunk);
                Ok((tree, chunk, result))
            })
            .await?;
        (self.tree, self.chunk) = (Some(tree), chunk);
        self.chunk.clear();
        result
    }

    async fn commit(&mut self, clear: bool) -> Result<(), Failure> {
        self.step(Tree::finish).await?;
        if clear {
            let mut removal = Some(self.step(|tree, _| tree.filling.clear()).await?);
            while let Some(mut current) = removal.take() {
                removal =
                    self.step(move |_, _| Ok(if current.step()? { None } else { Some(current) })).await?;
            }
        }
        self.step(|tree, _| tree.filling.place()).await
    }

    /// Removes what is left of the draft.
    async fn discard(&mut self) {
        let mut left = match self.step(|tree, _| Ok(tree.filling.discard())).await {
            Ok(left) => left,
            Err(_) => return,
        };
        while let Some(mut discarded) = left.take() {
            let stepped = self.worker.run(move || Ok(if discarded.step() { None } else { Some(discarded) }));
            left = stepped.await.unwrap_or(None);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some(mut tree) = self.tree.take() {
            // Where a slow disk stalls nothing.
            self.worker.submit(Box::new(move || tree.discard_now()));
        }
    }
}

/// A tree that arrives.
pub(super) struct Tree {
    parser: Parser,
    filling: Filling,
}

/// Where its entries go. The draft is made with the first of them, so that what is no archive touches no disk.
struct Filling {
    path: GuestPath,
    bytes_max: Option<u64>,
    draft: Option<Draft>,
}

impl Tree {
    pub(super) fn new(path: GuestPath, bytes_max: Option<u64>) -> Self {
        Self { parser: Parser::new(path.clone()), filling: Filling { path, bytes_max, draft: None } }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.parser.push(bytes, &mut self.filling)
    }

    /// Takes the last bytes. Where this succeeds the archive is good, and all of it unpacked.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.push(bytes)?;
        self.parser.finish()?;
        if let Some(draft) = &self.filling.draft {
            draft.folders_finish()?;
        }
        folders_make(Path::new(self.filling.path.as_str()), FOLDER_MODE)
    }

    /// Removes what was unpacked, all at once.
    pub(super) fn discard_now(&mut self) {
        if let Some(mut discarded) = self.filling.discard() {
            while !discarded.step() {}
        }
    }

    /// Puts the tree in its place, all at once.
    #[cfg(test)]
    pub(super) fn commit_now(&mut self, clear: bool) -> Result<(), Failure> {
        if clear {
            let mut removal = self.filling.clear()?;
            while !removal.step()? {}
        }
        self.filling.place()
    }
}

impl Filling {
    fn target_open(&self) -> Result<OwnedFd, Failure> {
        openat(CWD, self.path.as_str(), beneath::FOLDER | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| self.target_failure(errno))
    }

    fn target_failure(&self, errno: Errno) -> Failure {
        failure_os(format_args!("open the folder {}", self.path), &errno.into())
    }

    /// The removal of what was there before.
    fn clear(&self) -> Result<Removal, Failure> {
        let spared = self.draft.as_ref().map(|draft| draft.name().as_bytes().to_vec());
        Removal::new(&self.target_open()?, spared).map_err(|errno| self.target_failure(errno))
    }

    fn place(&self) -> Result<(), Failure> {
        self.draft.as_ref().map_or(Ok(()), |draft| merge(draft, &self.target_open()?))
    }

    fn discard(&mut self) -> Option<Discarded> {
        self.draft.take().and_then(Draft::into_discarded)
    }
}

impl Unpack for Filling {
    fn begin(&mut self, entry: Entry) -> Result<(), Failure> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            none => none.insert(Draft::new(&self.path, self.bytes_max)?),
        };
        draft.begin(entry)
    }

    fn hole(&mut self, bytes: u64) -> Result<(), Failure> {
        self.draft.as_mut().map_or(Ok(()), |draft| draft.hole(bytes))
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.draft.as_mut().map_or(Ok(()), |draft| draft.content(bytes))
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.draft.as_mut().map_or(Ok(()), Draft::end)
    }
}
