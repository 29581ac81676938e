//! The Debian packages that Atoll's work needs, and their installation by apt-get.
//!
//! A package counts as present when its program is where sandboxes see it: the `host` image shows `/usr`, so a
//! program in a developer's own folder does not help, and one in `/usr` helps whoever put it there.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, command_run};

/// What packages are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Running the server.
    Server,
    /// Running the server, the tests and the benchmark.
    Tests,
}

/// A Debian package and the program that shows that it is there.
struct Package {
    name: &'static str,
    program: &'static str,
    purpose: Purpose,
}

const PACKAGES: &[Package] = &[
    Package { name: "btrfs-progs", program: "mkfs.btrfs", purpose: Purpose::Server },
    Package { name: "mount", program: "losetup", purpose: Purpose::Server },
    Package { name: "nftables", program: "nft", purpose: Purpose::Server },
    Package { name: "nodejs", program: "node", purpose: Purpose::Server },
    Package { name: "npm", program: "npm", purpose: Purpose::Server },
    Package { name: "python3", program: "python3", purpose: Purpose::Server },
    Package { name: "util-linux", program: "unshare", purpose: Purpose::Server },
    Package { name: "apache2-utils", program: "htpasswd", purpose: Purpose::Tests },
    Package { name: "bubblewrap", program: "bwrap", purpose: Purpose::Tests },
    Package { name: "curl", program: "curl", purpose: Purpose::Tests },
    Package { name: "docker-registry", program: "docker-registry", purpose: Purpose::Tests },
    Package { name: "jq", program: "jq", purpose: Purpose::Tests },
    Package { name: "procps", program: "top", purpose: Purpose::Tests },
    Package { name: "runc", program: "runc", purpose: Purpose::Tests },
    Package { name: "virtualenv", program: "virtualenv", purpose: Purpose::Tests },
    Package { name: "vim", program: "vim", purpose: Purpose::Tests },
];

const PROGRAM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Why packages are still missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// There is no apt-get here.
    #[error("this is no Debian (no apt-get); install by hand what gives these programs: {}", .programs.join(", "))]
    NoApt {
        /// The programs that were not found.
        programs: Vec<&'static str>,
    },
    /// apt-get failed, also with fresh package lists.
    #[error("apt-get did not install {}", .packages.join(", "))]
    Apt {
        /// The packages asked for.
        packages: Vec<&'static str>,
        /// Which of its commands failed.
        #[source]
        source: CommandError,
    },
}

/// Installs the packages that `purpose` needs and that are missing; prints what it does.
pub(crate) fn packages_install(purpose: Purpose) -> Result<(), PackageError> {
    let missing = packages_missing(purpose, |program| {
        PROGRAM_FOLDERS.iter().any(|folder| Path::new(folder).join(program).exists())
    });
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|package| package.name).collect();
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(PackageError::NoApt {
            programs: missing.iter().map(|package| package.program).collect(),
        });
    }
    eprintln!("installing {}", packages.join(", "));
    apt_install(&packages).map_err(|source| PackageError::Apt { packages, source })
}

/// Tries with the package lists at hand first: they are missing or stale only now and then, and fetching them
/// takes longer than most installations.
fn apt_install(packages: &[&str]) -> Result<(), CommandError> {
    let install =
        || command_run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages));
    if install().is_ok() {
        return Ok(());
    }
    eprintln!("fetching fresh package lists");
    command_run(apt_get().arg("update"))?;
    install()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn packages_missing(purpose: Purpose, program_present: impl Fn(&str) -> bool) -> Vec<&'static Package> {
    PACKAGES
        .iter()
        .filter(|package| purpose == Purpose::Tests || package.purpose == Purpose::Server)
        .filter(|package| !program_present(package.program))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_missing(purpose: Purpose, present: &[&str]) -> Vec<&'static str> {
        packages_missing(purpose, |program| present.contains(&program)).iter().map(|it| it.name).collect()
    }

    #[test]
    fn only_packages_whose_program_is_absent_are_installed() {
        let present = ["mkfs.btrfs", "losetup", "node", "npm", "python3", "unshare"];
        assert_eq!(names_missing(Purpose::Server, &present), ["nftables"]);
    }

    #[test]
    fn test_packages_are_installed_for_tests_only() {
        assert!(!names_missing(Purpose::Server, &[]).contains(&"runc"));
        assert!(names_missing(Purpose::Tests, &[]).contains(&"runc"));
        assert!(names_missing(Purpose::Tests, &[]).contains(&"nftables"));
    }
}
