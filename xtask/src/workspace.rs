//! What cargo knows of the workspace: where it is, where it builds, and which package depends on which.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::command::{CommandError, command_output};

/// The workspace, as `cargo metadata` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    #[serde(rename = "target_directory")]
    pub(crate) target_dir: PathBuf,
    /// The packages of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name, not its library's.
    pub(crate) name: String,
    /// Its `Cargo.toml`: absolute.
    pub(crate) manifest_path: PathBuf,
    /// What it builds.
    targets: Vec<Target>,
    /// What it depends on, of all kinds (normal, dev, build).
    pub(crate) dependencies: Vec<Dependency>,
}

/// A library, program or test of a package.
#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// An entry in a package's dependency tables.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The name of the package depended on, also where the manifest renames it.
    pub(crate) name: String,
}

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkspaceError {
    /// `cargo metadata` failed.
    #[error("cannot ask cargo about the workspace")]
    Cargo(#[from] CommandError),
    /// Its answer has another shape than documented.
    #[error("cannot read the answer of `cargo metadata`")]
    Answer(#[from] serde_json::Error),
}

impl Workspace {
    /// Asks cargo about the workspace this program was built from.
    pub(crate) fn read() -> Result<Self, WorkspaceError> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let answer = command_output(
            Command::new(cargo)
                .args(["metadata", "--no-deps", "--format-version", "1"])
                .current_dir(env!("CARGO_MANIFEST_DIR")),
        )?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Package {
    /// Whether one of its targets is a library.
    pub(crate) fn is_library(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib"))
    }

    /// The package's folder relative to `root`, with `/` between names.
    pub(crate) fn folder(&self, root: &Path) -> String {
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned()
    }
}
