//! The release binary and the language toolchains it runs programs with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, cargo, command_run};
use crate::workspace::Workspace;

/// Builds the release binary and returns its path. The static agent inside it is built by its build script.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf, CommandError> {
    command_run(cargo(workspace).args(["build", "--release", "--package", "atoll"]))?;
    Ok(workspace.target_dir.join("release/atoll"))
}

/// Installs the pinned toolchains that are missing; the binary shows its own progress bars.
pub(crate) fn toolchains_install(workspace: &Workspace, binary: &Path) -> Result<(), CommandError> {
    command_run(Command::new(binary).args(["toolchain", "install", "--all"]).current_dir(&workspace.root))
}
