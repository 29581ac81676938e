//! What Atoll remembers across a restart: typed records in one SQLite file.
//!
//! The rest of the server sees records, [`Batch`]es of changes and queries; SQL ends at this crate's edge.
//! It must not know HTTP, dialects, launching, or what a change of state means.
//!
//! * Every write is a [`Batch`]: all of its changes are stored, or none. One thread writes, and puts all
//!   batches that wait into one transaction, so a thousand callers cost little more than one.
//! * A result of `Ok` from [`Store::apply`] survives `kill -9` of the process. After a power cut the newest
//!   batches may be missing, each as a whole (`synchronous=NORMAL`, <https://sqlite.org/pragma.html#pragma_synchronous>).
//! * Times are kept to the microsecond.
//!
//! A new table is one file in `migrations/` (and its line in `migration.rs`), and one file here with its
//! record, an `impl Batch` for its changes and an `impl Store` for its queries, as in `counter.rs`.

mod batch;
mod checkpoint;
mod column;
mod connect;
mod counter;
mod end_reason;
mod error;
mod event;
mod fact;
mod header;
mod key;
mod lock;
mod migration;
mod open_error;
mod pending;
mod program;
mod reader;
mod sandbox;
mod snapshot;
mod store;
mod volume;
mod writer;

pub use batch::Batch;
pub use counter::Counter;
pub use end_reason::EndReason;
pub use error::{Cause, StoreError};
pub use event::{Event, EventEntry};
pub use fact::Fact;
pub use key::{KeyRecord, NewKey};
pub use open_error::OpenError;
pub use pending::Pending;
pub use sandbox::{OnAccess, Page, SandboxFilter, SandboxPage, SandboxRecord, SandboxState, VariableNote};
pub use snapshot::SnapshotRecord;
pub use store::Store;
pub use volume::{SandboxVolume, SandboxVolumeSource, VolumeRecord};
