//! Makes a layer of a blob: has it unpacked by a process without power, and adds what only root can.
//!
//! That process has read hostile bytes, so its answer is a stranger's: paths in it are looked up below the layer and
//! through no link.

use std::{
    fs::{self, DirBuilder, File},
    io::{Read as _, Seek as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::DirBuilderExt as _,
    },
    path::Path,
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, fchmod, fchown, fsetxattr, fstat},
    io::Errno,
};

use super::{
    Digest, ImageError, ImagePrograms, failed, harmless,
    shelf::{Layer, Shelf},
    unpack::{ANSWER_BYTES_MAX, Answer, Place, Unpacked, open_beneath},
};
use crate::progress::{Progress, ProgressEvent};

const LOOK_EVERY: Duration = Duration::from_millis(150);
/// overlayfs reads it as: nothing of the layers below shows in this folder. Only the host's root can set it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a layer is made of.
pub(super) struct Source<'a> {
    pub(super) blob: &'a Digest,
    /// The file that it is in, compared with its digest.
    pub(super) file: &'a Path,
    /// What it should be without compression.
    pub(super) diff_id: Option<&'a Digest>,
    /// The layers below, from the lowest on.
    pub(super) below: &'a [Digest],
    pub(super) bytes_max: u64,
}

/// The name of a layer with all below it.
pub(super) fn chain_of(below: Option<&Digest>, blob: &Digest) -> Digest {
    below.map_or_else(|| blob.clone(), |below| Digest::of(format!("{below} {blob}").as_bytes()))
}

/// Unpacks a layer into its place. Nothing is left where that fails.
pub(super) fn layer_make(
    shelf: &Shelf,
    chain: &Digest,
    source: &Source<'_>,
    programs: ImagePrograms,
    name: &str,
    progress: &mut dyn Progress,
) -> Result<Layer, ImageError> {
    let new = shelf.layer_new(chain);
    let made = make(shelf, &new, chain, source, programs, name, progress);
    if made.is_err()
        && let Err(error) = fs::remove_dir_all(&new)
    {
        tracing::warn!(path = %new.display(), %error, "cannot remove what a layer left");
    }
    made
}

fn make(
    shelf: &Shelf,
    new: &Path,
    chain: &Digest,
    source: &Source<'_>,
    programs: ImagePrograms,
    name: &str,
    progress: &mut dyn Progress,
) -> Result<Layer, ImageError> {
    // One that was cut off; whoever makes this layer has its blob's lock.
    if new.exists() {
        fs::remove_dir_all(new).map_err(failed("remove", new))?;
    }
    let tree = new.join("tree");
    for folder in [new, &tree] {
        DirBuilder::new().mode(0o700).create(folder).map_err(failed("create", folder))?;
    }
    let refused = |why: String| ImageError::Layer { layer: source.blob.clone(), why };
    let unpacked = match unpack(&tree, source, programs, name, progress)? {
        Answer::Unpacked(unpacked) => unpacked,
        Answer::Refused(why) => return Err(refused(harmless(&why))),
    };
    if source.diff_id.is_some_and(|diff_id| *diff_id != unpacked.diff_id) {
        return Err(refused("its content is not what the image's configuration says".to_owned()));
    }
    let root = File::open(&tree).map_err(failed("open", &tree))?;
    let marked = mark(root.as_fd(), &unpacked.opaque).map_err(|errno| match errno {
        Errno::OPNOTSUPP | Errno::PERM | Errno::NOSPC => failed("mark folders of", &tree)(errno.into()),
        _ => refused("it hides what is below a folder that is none".to_owned()),
    });
    marked?;
    let mut implied = unpacked.implied.clone();
    for chain in source.below.iter().rev() {
        let below = shelf.layer_tree(chain);
        let below = File::open(&below).map_err(failed("open", &below))?;
        // The nearest layer that has a folder counts.
        inherit(root.as_fd(), below.as_fd(), &mut implied);
    }
    let Unpacked { diff_id, entries, bytes, skipped, opaque, .. } = unpacked;
    let hides_all = opaque.iter().any(|place| place.0.is_empty());
    let layer = Layer { blob: source.blob.clone(), diff_id, bytes, entries, skipped, hides_all };
    shelf.layer_place(chain, &layer)?;
    Ok(layer)
}

/// Has the blob unpacked into `tree`, and returns what the process said.
fn unpack(
    tree: &Path,
    source: &Source<'_>,
    programs: ImagePrograms,
    name: &str,
    progress: &mut dyn Progress,
) -> Result<Answer, ImageError> {
    // For reading only: what was compared with its digest must stay that.
    let file = File::open(source.file).map_err(failed("open", source.file))?;
    let total_bytes = file.metadata().map_err(failed("examine", source.file))?.len();
    let input = file.try_clone().map_err(failed("open", source.file))?;
    let mut command = (programs.unpack)(source.bytes_max);
    command.current_dir(tree).stdin(Stdio::from(input)).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed("start the unpacking of", source.file))?;
    let (done, ended) = mpsc::channel();
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.map(|output| output.take(ANSWER_BYTES_MAX).read_to_end(&mut text));
        let _ = done.send(read.is_some_and(|read| read.is_ok()).then_some(text));
    });
    let text = loop {
        // Both have one offset.
        let done_bytes = (&file).stream_position().unwrap_or(0).min(total_bytes);
        progress.report(ProgressEvent::Unpacking { package: name, done_bytes, total_bytes });
        match ended.recv_timeout(LOOK_EVERY) {
            Ok(text) => break text.unwrap_or_default(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Vec::new(),
        }
    };
    let _ = reader.join();
    // One that has closed its output and goes on has nothing to do any more.
    let _ = child.kill();
    let status = child.wait().map_err(failed("wait for the unpacking of", source.file))?;
    Ok(serde_json::from_slice(&text).unwrap_or_else(|_| {
        Answer::Refused(format!("unpacking it ended with {status}; it may need more memory than it gets"))
    }))
}

/// Marks folders in which nothing of the layers below shows.
fn mark(root: BorrowedFd<'_>, opaque: &[Place]) -> Result<(), Errno> {
    for Place(path) in opaque.iter().filter(|place| !place.0.is_empty()) {
        let folder = folder_open(root, path)?;
        fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())?;
    }
    Ok(())
}

/// Gives folders the owner and the mode that they have in the layer below. Those that it has leave the list.
fn inherit(root: BorrowedFd<'_>, below: BorrowedFd<'_>, implied: &mut Vec<Place>) {
    implied.retain(|Place(path)| {
        let Ok(found) = folder_open(below, path).and_then(fstat) else { return true };
        let Ok(folder) = folder_open(root, path) else { return false };
        let mode = Mode::from_raw_mode(found.st_mode);
        let set = fchown(&folder, Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)))
            .and_then(|()| fchmod(&folder, mode));
        if let Err(errno) = set {
            tracing::warn!(%errno, "a folder of a layer keeps the mode that it was made with");
        }
        false
    });
}

fn folder_open(root: BorrowedFd<'_>, path: &[u8]) -> Result<std::os::fd::OwnedFd, Errno> {
    open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
}
