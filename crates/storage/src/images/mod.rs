//! OCI images: pulled from registries or imported, and kept as layers that overlayfs can stack.
//!
//! ```text
//! images/               0700, of root
//!   lock                shared by pulls and imports; alone by what removes layers
//!   names/<hash>.json   an image: what it is called, its layers from the lowest on, its configuration
//!   digests/<digest>.json  the same by its digest, as long as it has a name or something lies on it; locked, shared, by
//!                       what runs from it
//!   layers/<chain>/     layer.json and tree/; <chain> names the layer and all below it
//!   layers/.new-<chain> a layer while it is unpacked
//!   partial/<digest>    a download, locked by whoever writes it
//! ```
//!
//! Layers are unpacked by a process without power over the host (`unpack`), which the caller provides. It must not
//! know sandboxes, mounts or who asked.

mod ask;
mod challenge;
mod digest;
mod fetch;
mod hold;
mod import;
mod layer;
mod manifest;
mod pull;
mod reference;
mod registry;
mod shelf;
mod unpack;

use std::{io, path::PathBuf, process::Command};

pub use self::{
    ask::ask_serve,
    digest::Digest,
    hold::{HeldImage, IMAGE_ATTRIBUTE, image_find, image_get, image_hold, image_uses},
    import::image_import,
    manifest::{ImageConfig, Platform},
    pull::image_pull,
    reference::{Reference, ReferenceError},
    registry::Credentials,
    shelf::{Image, Pruned, Removed, image_list, image_prune, image_remove},
    unpack::{unpack_refuse, unpack_serve},
};

/// The programs that read what strangers wrote: this one again, as processes that first give up their power.
#[derive(Clone, Copy, Debug)]
pub struct ImagePrograms {
    /// A process that confines itself to the folder it is started in, and then unpacks there what comes as its standard
    /// input, at most as many bytes as it is told: [`unpack_serve`].
    pub unpack: fn(u64) -> Command,
    /// A process of no power that asks a registry: [`ask_serve`].
    pub ask: fn() -> Command,
}

/// What an image may unpack to unless the operator says otherwise, each layer for itself.
pub const LAYER_BYTES_MAX: u64 = 32 << 30;

/// Why there is no such image, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The registry cannot be reached, or the connection broke.
    #[error(
        "{registry} cannot be reached, or broke off: {message}; what was downloaded is kept for the next try"
    )]
    Transport {
        /// The registry.
        registry: String,
        /// Why.
        message: String,
    },
    /// The registry has no such image.
    #[error("{registry} has no image {image}")]
    NotFound {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
    },
    /// The registry wants a login, or another one.
    #[error(
        "{registry} does not give {image} to {}: it is private, or there is no such image; {}",
        if *.logged_in { "this user" } else { "everybody" },
        if *.logged_in { "check the user name and the password" } else { "say --username and --password-stdin" }
    )]
    Denied {
        /// The registry.
        registry: String,
        /// The image.
        image: String,
        /// Whether a user name and a password were given.
        logged_in: bool,
    },
    /// The registry answered with something else.
    #[error("{registry} answered to {asked} with {answer}")]
    Answer {
        /// The registry.
        registry: String,
        /// What was asked for.
        asked: String,
        /// The answer.
        answer: String,
    },
    /// What describes the image is of no use.
    #[error("the image {image} is not taken: {why}")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        why: String,
    },
    /// The image is for other platforms.
    #[error("the image {image} is not for {wanted}; it is for {}", if .there.is_empty() { "none".to_owned() } else { .there.join(", ") })]
    Platform {
        /// The image.
        image: String,
        /// This machine's.
        wanted: Platform,
        /// Those that there are.
        there: Vec<String>,
    },
    /// What came is not what was asked for. Nothing of it was used.
    #[error("{what} is not what it should be: its digest is {found} instead of {expected}")]
    Digest {
        /// What came.
        what: String,
        /// As it should be.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// A layer was refused.
    #[error("the layer {layer} is not taken: {why}")]
    Layer {
        /// The layer.
        layer: Digest,
        /// Why.
        why: String,
    },
    /// There is no image of that name here.
    #[error("there is no image {name} here; `atoll image list` says which there are")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Sandboxes or snapshots need it.
    #[error("the image {name} is in use: sandboxes or snapshots lie on it; delete them first")]
    InUse {
        /// The name.
        name: String,
    },
    /// A pull or an import goes on.
    #[error("an image is being pulled or imported; try again when that has ended")]
    Busy,
    /// A system call failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

fn failed(step: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { step, path, source }
}

/// A stranger's words, harmless to a terminal and not too long.
fn harmless(text: &str) -> String {
    let line = text.trim();
    let mut shown: String = line
        .chars()
        .take(400)
        .flat_map(|letter| {
            let keep = !letter.is_control();
            keep.then_some(letter).into_iter().chain((!keep).then_some(' '))
        })
        .collect();
    if line.chars().nth(400).is_some() {
        shown.push('…');
    }
    shown
}
