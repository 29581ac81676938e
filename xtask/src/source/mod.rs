//! The source of the workspace, read as text: files, Rust tokens, and code blocks in documentation.
//!
//! It must not know the rules and steps that look at it.

pub(crate) mod documentation;
pub(crate) mod tokens;
pub(crate) mod tree;
