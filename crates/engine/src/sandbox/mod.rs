//! One sandbox: its admission, the task that owns it, the runs of its program.

mod admission;
mod handle;
mod run;
mod task;
mod upload;
mod view;

pub(crate) use admission::{Admitted, admit, later, limits};
pub(crate) use handle::{Command, Handle};
pub(crate) use task::{Task, event, task_start};
pub(crate) use view::view_of;
