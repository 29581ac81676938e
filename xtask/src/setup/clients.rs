//! The published clients that the conformance tests run, at the versions that those pin, below `target/clients`.
//!
//! It must not know what the tests do with them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{CommandError, command_run};
use crate::workspace::Workspace;

/// Where the tests are, and with them the files that pin the clients.
const TESTS: &str = "tests/conformance/opensandbox";
/// What was installed, word for word; written last.
const STAMP: &str = "installed-from";

/// Why the clients are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientsError {
    /// A file could not be read or written.
    #[error("cannot use {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// pip or npm failed.
    #[error("cannot install the published clients; is the package index reachable?")]
    Install(#[from] CommandError),
}

/// Installs what is missing or pinned at another version by now. The folder that has `python/` and `node/`.
pub(crate) fn clients_install(workspace: &Workspace) -> Result<PathBuf, ClientsError> {
    let clients = workspace.target_dir.join("clients");
    let tests = workspace.root.join(TESTS);
    renew(&clients.join("python"), &[tests.join("python/requirements.txt")], python_install)?;
    renew(
        &clients.join("node"),
        &[tests.join("node/package.json"), tests.join("node/package-lock.json")],
        node_install,
    )?;
    Ok(clients)
}

/// Makes `folder` anew by `install`, unless it was made from the same `pins`.
fn renew(
    folder: &Path,
    pins: &[PathBuf],
    install: impl FnOnce(&Path, &[PathBuf]) -> Result<(), ClientsError>,
) -> Result<(), ClientsError> {
    let mut wanted = String::new();
    for path in pins {
        wanted += &fs::read_to_string(path).map_err(|source| at(path, source))?;
    }
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|source| at(folder, source))?;
    }
    fs::create_dir_all(folder).map_err(|source| at(folder, source))?;
    install(folder, pins)?;
    fs::write(&stamp, wanted).map_err(|source| at(&stamp, source))
}

fn python_install(folder: &Path, pins: &[PathBuf]) -> Result<(), ClientsError> {
    command_run(Command::new("virtualenv").args(["--quiet", "--python", "/usr/bin/python3"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    for path in pins {
        pip.arg("--requirement").arg(path);
    }
    Ok(command_run(&mut pip)?)
}

fn node_install(folder: &Path, pins: &[PathBuf]) -> Result<(), ClientsError> {
    for path in pins {
        let copy = folder.join(path.file_name().unwrap_or_default());
        fs::copy(path, &copy).map_err(|source| at(path, source))?;
    }
    Ok(command_run(
        Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder),
    )?)
}

fn at(path: &Path, source: io::Error) -> ClientsError {
    ClientsError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_anew_only_when_the_pins_change() {
        let temp = std::env::temp_dir().join(format!("atoll-clients-{}", std::process::id()));
        let (folder, pins) = (temp.join("made"), [temp.join("pins")]);
        fs::create_dir_all(&temp).unwrap();
        let mut made = 0;
        for text in ["a==1", "a==1", "a==2"] {
            fs::write(&pins[0], text).unwrap();
            renew(&folder, &pins, |folder, _| {
                made += 1;
                assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(made, 2);
        fs::remove_dir_all(&temp).unwrap();
    }

    #[test]
    fn what_failed_halfway_is_not_taken_for_whole() {
        let temp = std::env::temp_dir().join(format!("atoll-clients-half-{}", std::process::id()));
        let (folder, pins) = (temp.join("made"), [temp.join("pins")]);
        fs::create_dir_all(&temp).unwrap();
        fs::write(&pins[0], "a==1").unwrap();
        let fail = |path: &Path, _: &[PathBuf]| Err(at(path, io::ErrorKind::Other.into()));
        assert!(renew(&folder, &pins, fail).is_err());
        let mut made = false;
        renew(&folder, &pins, |_, _| {
            made = true;
            Ok(())
        })
        .unwrap();
        assert!(made);
        fs::remove_dir_all(&temp).unwrap();
    }
}
