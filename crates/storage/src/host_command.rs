//! Runs one of the host's own programs (`mkfs.btrfs`, `mount`) with nothing inherited but file access.
//!
//! It must not know what the programs are for. Arguments are an array: no shell is involved.

use std::{
    ffi::OsStr,
    io,
    process::{Command, ExitStatus, Stdio},
};

/// Where the host's programs are looked for. `$PATH` of the caller is not: it may hold anything.
pub(crate) const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program of the host did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HostCommandError {
    /// There is no such program.
    #[error("`{program}` is not installed")]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// It reported a failure.
    #[error("`{program}` failed ({status}): {message}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// What it said on its standard error, trimmed.
        message: String,
    },
}

/// Runs `program` to its end with an environment of its own.
pub(crate) fn host_command_run(program: &'static str, args: &[&OsStr]) -> Result<(), HostCommandError> {
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", HOST_PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => HostCommandError::Missing { program },
            _ => HostCommandError::Start { program, source },
        })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(HostCommandError::Failed { program, status: output.status, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_apart() {
        host_command_run("true", &[]).unwrap();
        let missing = host_command_run("no-such-program-of-the-host", &[]).unwrap_err();
        assert_eq!(missing.to_string(), "`no-such-program-of-the-host` is not installed");
        let failed = host_command_run("ls", &[OsStr::new("/no/such/folder")]).unwrap_err();
        assert!(failed.to_string().contains("/no/such/folder"), "{failed}");
    }
}
