//! Files and directories. Every call that a slow disk could stall runs on the file thread, large work in steps.

pub(super) mod change;
pub(super) mod download;
pub(super) mod info;
pub(super) mod listing;
mod range;
pub(super) mod rename;
pub(super) mod replace;
mod substitute;
pub(super) mod upload;

use protocol::GuestPath;

use crate::http::HttpError;

/// A path as clients name it: absolute, or from where the agent was started.
fn path_of(text: &str) -> Result<GuestPath, HttpError> {
    let own = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let joined = own.join(text);
    let absolute = joined.to_str().filter(|_| !text.is_empty()).unwrap_or_default();
    GuestPath::absolute(absolute).map_err(|reason| HttpError::query(format!("the path {text:?}: {reason}")))
}
