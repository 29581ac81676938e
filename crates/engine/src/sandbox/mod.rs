//! One sandbox: its admission, the task that owns it, runs of its program, operations on it.

mod admission;
mod changes;
mod ending;
mod entrypoint;
mod handle;
mod import;
mod network;
mod operation;
mod operations;
mod program_runs;
mod recording;
mod run;
mod taking;
mod task;
mod upload;
mod uptime;
mod usage;
mod user;
mod variables;
mod view;

pub(crate) use admission::{Admitted, admit, later, limits};
pub use handle::CommandOutcome;
pub(crate) use handle::{Command, Handle, Operate, PolicyChange, Target, What};
pub(crate) use operation::{AGENT_PATIENCE, GRACE, launch_failed};
pub(crate) use recording::{event, snapshot_deleted, snapshot_taken};
pub(crate) use task::{Task, task_start};
pub(crate) use user::{User, image_user_look, user_look};
pub(crate) use view::view_of;
