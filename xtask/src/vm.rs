//! Runs the built binary on another kernel: a virtual machine whose scripts are in `tests/vm/`.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, command_run};
use crate::workspace::Workspace;

/// Boots the machine and runs its check, with this terminal as the output.
pub(crate) fn vm(workspace: &Workspace, binary: &Path) -> Result<(), CommandError> {
    let run = workspace.root.join("tests/vm/run");
    command_run(Command::new(run).arg(binary).arg(workspace.target_dir.join("vm")))
}
