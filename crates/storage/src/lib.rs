//! What is on disk: the data directory, the pool of layers, the images and the toolchains.
//!
//! It runs as root while the server starts, before privileges are dropped; the launcher asks it for paths
//! only. It must not know SQL, HTTP, tokio, namespaces or any dialect, and it makes no raw system call.

pub mod environment;
pub mod host_image;
pub mod images;
pub mod layout;
pub mod pool;
pub mod progress;
pub mod resolver;
pub mod run_folder;
pub mod toolchains;
pub mod tree_copy;

mod host_command;
mod mounted;
