//! Whole folder trees as tar streams: [`mod@read`] sends one, [`mod@write`] unpacks one.
//!
//! An archive is hostile until its last byte: [`parse`] takes it apart without touching a file, [`draft`]
//! unpacks it into a folder that nobody else uses, and only what is good as a whole is moved to its place by
//! [`merge`]. Below the folder that a request names no symbolic link is followed and no mount is entered, in
//! either direction: [`beneath`] opens everything.

mod beneath;
mod draft;
mod encode;
mod entry;
mod folder;
mod merge;
mod metadata;
mod name;
mod parse;
mod pax;
mod read;
mod remove;
mod sparse;
mod sparse_map;
#[cfg(test)]
mod tests;
mod walk;
mod write;

pub(crate) use folder::{folder_remove, removal_begin, removal_run};
pub(crate) use read::tree_read;
pub(crate) use remove::Removal;
pub(crate) use write::tree_write;

/// The unit of a tar stream.
const BLOCK_BYTES: usize = 512;
/// How many folders deep a tree may be: each level of a walk holds a descriptor.
const DEPTH_MAX: usize = protocol::entry_name::DEPTH_MAX;
/// The most headers that an archive may have.
const ENTRIES_MAX: u64 = 1_000_000;
/// What the header of a header may have: a long name, extended attributes.
const EXTRA_BYTES_MAX: usize = 1 << 20;
/// How the names begin that trees have while they are unpacked.
pub(crate) const DRAFT_PREFIX: &str = ".atoll-tree-";
