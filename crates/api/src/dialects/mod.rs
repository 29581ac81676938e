//! The foreign APIs that Atoll speaks, a module each. None knows of another.

pub(crate) mod executor;
pub(crate) mod opensandbox;
pub(crate) mod sandbox_service;
pub(crate) mod sessions;
pub(crate) mod vms;
