//! Isolation, one test for each promise of `SECURITY.md`.

mod files;
mod host;
mod kernel;
mod launch;
mod privileges;
mod shared;
