//! Toolchains: pinned, read-only bundles of language tools that are mounted into `host`-image sandboxes.
//!
//! `node`, `bun` and `typescript` are packages of the npm registry, fetched by the host's own `npm`; `python` and
//! `bash` are the host's. It must not know sandboxes, mounts or how a program is run.

mod fetch;
mod install;
mod pins;
mod probe;
mod stamp;
mod unpack;

use std::{fmt, io, path::PathBuf, str::FromStr};

use protocol::HostPath;

pub use self::{
    install::toolchain_install,
    probe::{HostProgram, toolchain_probe},
    unpack::UnpackError,
};
use self::{pins::Pin, stamp::is_installed};
use crate::layout::DataDir;

/// Where the folder of all toolchains is mounted in a sandbox. Each is found by its name, a link to its version.
pub const TOOLCHAINS_FOLDER: &str = "/opt/atoll/toolchains";

/// A toolchain that Atoll installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ToolchainName {
    /// Node.js, with npm and npx.
    Node,
    /// Bun, with bunx.
    Bun,
    /// The TypeScript compiler, as a native program, and the types of Node.
    Typescript,
}

impl ToolchainName {
    /// All of them, in the order in which their programs are looked for.
    pub const ALL: [Self; 3] = [Self::Node, Self::Bun, Self::Typescript];

    /// Its name, as in folders and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Typescript => "typescript",
        }
    }

    /// Where it is mounted in a sandbox.
    #[must_use]
    pub fn guest_folder(self) -> String {
        format!("{TOOLCHAINS_FOLDER}/{self}")
    }

    /// Where its programs are in a sandbox.
    #[must_use]
    pub fn guest_bin(self) -> String {
        format!("{TOOLCHAINS_FOLDER}/{self}/bin")
    }
}

impl fmt::Display for ToolchainName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// There is no toolchain of this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no toolchain {0:?}; there are node, bun and typescript")]
pub struct UnknownToolchain(pub String);

impl FromStr for ToolchainName {
    type Err = UnknownToolchain;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownToolchain(text.to_owned()))
    }
}

/// A toolchain and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolchainStatus {
    /// Which.
    pub name: ToolchainName,
    /// The version that this release of Atoll uses.
    pub version: &'static str,
    /// Whether it is there.
    pub state: ToolchainState,
}

/// Whether a toolchain is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolchainState {
    /// It is, in this folder, with the pinned content.
    Installed(HostPath),
    /// It is not. This much would be downloaded.
    Missing {
        /// The size of its packages.
        download_bytes: u64,
    },
}

/// Why a toolchain could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Nobody makes it for this machine.
    #[error("the toolchain {name} is not made for {architecture} machines")]
    Unsupported {
        /// Which toolchain.
        name: ToolchainName,
        /// The machine's architecture.
        architecture: &'static str,
    },
    /// The host has no npm.
    #[error("`npm` is not installed; run `apt-get install npm`, or `cargo xtask serve`, which does")]
    NpmMissing,
    /// npm could not be started, or reported a failure.
    #[error("npm cannot fetch {package}: {message}")]
    Npm {
        /// The package, with its version.
        package: String,
        /// In npm's own words.
        message: String,
    },
    /// What came is not what was pinned. Nothing of it was used.
    #[error(
        "{package} is not what it was: its SHA-512 is {found} instead of {expected}; \
         the registry or a proxy before it changed the package"
    )]
    Integrity {
        /// The package, with its version.
        package: String,
        /// The pinned hash, in base64.
        expected: &'static str,
        /// The hash of what came.
        found: String,
    },
    /// The package's tarball was refused or could not be unpacked.
    #[error("cannot unpack {package}")]
    Unpack {
        /// The package, with its version.
        package: String,
        /// Why.
        source: UnpackError,
    },
    /// A system call failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// All toolchains that this machine can have, and whether they are there.
#[must_use]
pub fn toolchain_list(data: &DataDir) -> Vec<ToolchainStatus> {
    let pins = ToolchainName::ALL.into_iter().filter_map(pin_here);
    pins.map(|pin| {
        let folder = pin.folder(data);
        let state = if is_installed(pin, &folder) {
            ToolchainState::Installed(folder)
        } else {
            let sizes = pin.packages.iter().map(|package| package.tarball_bytes);
            ToolchainState::Missing { download_bytes: sizes.sum() }
        };
        ToolchainStatus { name: pin.name, version: pin.version, state }
    })
    .collect()
}

impl Pin {
    /// Where it lies on the host.
    fn folder(&self, data: &DataDir) -> HostPath {
        data.toolchains().join(self.folder_name())
    }

    /// The folder's name.
    fn folder_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// The pin for the machine that this runs on.
fn pin_here(name: ToolchainName) -> Option<&'static Pin> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    pins::pin_for(name, pins::machine_of(std::env::consts::ARCH, &cpuinfo)?)
}

fn failed(step: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> ToolchainError {
    let path = path.to_owned();
    move |source| ToolchainError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in ToolchainName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            let bin = name.guest_bin();
            assert_eq!(protocol::GuestPath::absolute(&bin).unwrap().as_str(), bin);
        }
        assert_eq!("deno".parse::<ToolchainName>(), Err(UnknownToolchain("deno".to_owned())));
    }

    #[test]
    fn nothing_is_installed_in_an_empty_data_directory() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::new(HostPath::new(temp.path())).unwrap();
        let list = toolchain_list(&data);
        assert_eq!(list.len(), 3);
        assert!(list.iter().all(|status| matches!(status.state, ToolchainState::Missing { .. })));
    }
}
