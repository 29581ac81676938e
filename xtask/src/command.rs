//! Runs other programs and says clearly which of them failed. It must not know what they are for.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{env, io};

use crate::workspace::Workspace;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started at all.
    #[error("cannot start `{command}`; is it installed and on PATH?")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ran and reported failure; its own output says why.
    #[error("`{command}` failed ({status}); its output above says why")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// Runs `command` with this terminal as its output and no input.
pub(crate) fn command_run(command: &mut Command) -> Result<(), CommandError> {
    let status = command.stdin(Stdio::null()).status().map_err(|source| start_error(command, source))?;
    status_check(command, status)
}

/// Runs `command` and returns what it wrote to stdout; its stderr goes to this terminal.
pub(crate) fn command_output(command: &mut Command) -> Result<Vec<u8>, CommandError> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| start_error(command, source))?;
    status_check(command, output.status)?;
    Ok(output.stdout)
}

/// `cargo` in the workspace, without the variables that the cargo which started us set for this crate only:
/// build scripts that watch them would run again each time.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(&workspace.root);
    command
}

/// The start of `command` as an error: how to read it, and the system's reason.
pub(crate) fn start_error(command: &Command, source: io::Error) -> CommandError {
    CommandError::Start { command: command_line(command), source }
}

fn status_check(command: &Command, status: ExitStatus) -> Result<(), CommandError> {
    if status.success() {
        return Ok(());
    }
    Err(CommandError::Failed { command: command_line(command), status })
}

fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let error = command_run(Command::new("false").arg("now")).unwrap_err();
        assert_eq!(error.to_string(), "`false now` failed (exit status: 1); its output above says why");
    }

    #[test]
    fn a_missing_program_is_told_apart_from_a_failing_one() {
        let error = command_run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(matches!(error, CommandError::Start { .. }), "{error}");
    }

    #[test]
    fn output_is_what_the_program_wrote() {
        assert_eq!(command_output(Command::new("printf").arg("a b")).unwrap(), b"a b");
    }
}
