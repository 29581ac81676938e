//! Fetches a package of the npm registry by the host's own `npm`, as its user has configured it: registry,
//! proxy, certificates, cache.
//!
//! It names no host. It must not trust what comes: the hash is compared by the caller.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use super::{ToolchainError, failed, pins::Package};
use crate::progress::{Progress, ProgressEvent};

/// How often the growing download is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Fewer and shorter waits than npm's own, which let a host without network wait for a minute and more.
const RETRIES: [&str; 3] =
    ["--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=3000"];

/// The host's npm.
pub(super) struct Npm {
    program: OsString,
    /// Where npm writes a download before it is whole.
    downloads: PathBuf,
}

impl Npm {
    /// Asks `program` (`npm`, but in tests) where its cache is.
    pub(super) fn find(program: impl Into<OsString>) -> Result<Self, ToolchainError> {
        let program = program.into();
        let output = Command::new(&program).args(["config", "get", "cache"]).stdin(Stdio::null()).output();
        let output = started(output, "its own configuration")?;
        let cache = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self { program, downloads: Path::new(&cache).join("_cacache/tmp") })
    }

    /// Downloads the tarball of `package` into the empty folder `into` and says where it is.
    pub(super) fn fetch(
        &self,
        package: &Package,
        into: &Path,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, ToolchainError> {
        let name = package.to_string();
        let mut command = Command::new(&self.program);
        command
            .args(["pack", &name, "--ignore-scripts", "--loglevel=error", "--pack-destination"])
            .arg(into)
            .args(RETRIES)
            // A project's own configuration is none of ours.
            .current_dir(into)
            .stdin(Stdio::null());
        let before = file_names(&self.downloads);
        let (done, ended) = mpsc::channel();
        let waiter = thread::spawn(move || done.send(command.output()));
        let output = loop {
            let done_bytes = self.grown_bytes(&before).max(folder_bytes(into, |_| true));
            progress.report(ProgressEvent::Downloading {
                package: &name,
                done_bytes: done_bytes.min(package.tarball_bytes),
                total_bytes: package.tarball_bytes,
            });
            match ended.recv_timeout(LOOK_EVERY) {
                Ok(output) => break output,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Err(io::Error::other("npm was lost")),
            }
        };
        // It has sent its last; there is nothing to wait for and no panic to pass on.
        let _ = waiter.join();
        started(output, &name)?;
        tarball_in(into, &name)
    }

    /// What npm has written since `before`. Other downloads of the same user count too; it is a bar, no more.
    fn grown_bytes(&self, before: &BTreeSet<OsString>) -> u64 {
        folder_bytes(&self.downloads, |name| !before.contains(name))
    }
}

/// The output of an npm that ended well.
fn started(output: io::Result<Output>, package: &str) -> Result<Output, ToolchainError> {
    match output {
        Ok(output) if output.status.success() => Ok(output),
        Ok(output) => {
            let message = reason(&String::from_utf8_lossy(&output.stderr))
                .unwrap_or_else(|| format!("it ended with {} and said nothing", output.status));
            Err(ToolchainError::Npm { package: package.to_owned(), message })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ToolchainError::NpmMissing),
        Err(error) => Err(ToolchainError::Npm { package: package.to_owned(), message: error.to_string() }),
    }
}

/// The line of npm's complaint that tells most: the first that is more than a code.
fn reason(stderr: &str) -> Option<String> {
    let lines = stderr.lines().map(|line| {
        let line = line.trim_start_matches("npm error").trim_start_matches("npm ERR!").trim();
        line.strip_prefix("network ").unwrap_or(line)
    });
    let is_code = |line: &&str| {
        ["code ", "errno ", "syscall ", "npm warn", "npm WARN"].iter().any(|start| line.starts_with(start))
    };
    lines.filter(|line| !line.is_empty()).find(|line| !is_code(line)).map(str::to_owned)
}

/// The one file that npm wrote. Its name differs between versions of npm.
fn tarball_in(folder: &Path, package: &str) -> Result<PathBuf, ToolchainError> {
    let entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    let mut paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.find(|path| path.extension() == Some(OsStr::new("tgz"))).ok_or_else(|| ToolchainError::Npm {
        package: package.to_owned(),
        message: "it reported success and wrote no tarball".to_owned(),
    })
}

fn file_names(folder: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.file_name()).collect()
}

fn folder_bytes(folder: &Path, counts: impl Fn(&OsString) -> bool) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let counted = entries.filter(|entry| counts(&entry.file_name()));
    counted
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npms_complaint_is_shortened_to_its_reason() {
        let offline = "npm error code ENOTFOUND\nnpm error syscall getaddrinfo\nnpm error errno ENOTFOUND\n\
            npm error network request to http://npm.example/x failed, reason: getaddrinfo ENOTFOUND\n\
            npm error network This is a problem related to network connectivity.\n";
        let expected = "request to http://npm.example/x failed, reason: getaddrinfo ENOTFOUND";
        assert_eq!(reason(offline).as_deref(), Some(expected));
        let old = "npm WARN config\nnpm ERR! code E404\nnpm ERR! 404 Not Found - GET http://npm.example/x\n";
        assert_eq!(reason(old).as_deref(), Some("404 Not Found - GET http://npm.example/x"));
        assert_eq!(reason("\n"), None);
    }

    #[test]
    fn a_missing_npm_is_told_apart() {
        let Err(error) = Npm::find("no-such-npm") else { panic!("found") };
        assert!(matches!(error, ToolchainError::NpmMissing));
        assert!(error.to_string().contains("apt-get install npm"));
        let Err(error) = Npm::find("false") else { panic!("found") };
        assert!(matches!(error, ToolchainError::Npm { .. }), "{error}");
    }
}
