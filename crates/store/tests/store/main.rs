//! The store as its users see it. Where a test needs a file that the store itself would not make, it makes it
//! with SQLite directly.

#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up must work; clippy knows only test functions as tests"
)]

mod fixture;
mod keys;
mod kill;
mod migrations;
mod open;
mod records;
mod snapshots;
mod trail;
mod volumes;
mod writes;
