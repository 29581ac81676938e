//! The way of one request into a sandbox, and of its answer back: for every dialect that lets clients in.
//!
//! It must not know who may enter, nor how a dialect tells what went wrong.

mod forward;
mod headers;

pub(crate) use forward::{Broken, Door, forward, path_split};
