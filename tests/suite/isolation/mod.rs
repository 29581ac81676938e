//! Isolation, one test for each promise of `SECURITY.md`.

mod agent;
mod files;
mod host;
mod kernel;
mod launch;
mod launcher;
mod privileges;
mod shared;
