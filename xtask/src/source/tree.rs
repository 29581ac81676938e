//! The source as a tree that rules and steps can be shown: paths, texts, tokens of Rust files, and the dependencies of packages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::tokens::{Token, tokens_of};
use crate::workspace::Workspace;

/// What holds no source of ours, wherever it is. `.git` is a file in a worktree.
const FOREIGN: [&str; 3] = [".git", "node_modules", "target"];

/// The source.
#[derive(Default)]
pub(crate) struct Tree {
    /// By path relative to the root, with `/` between names.
    pub(crate) files: BTreeMap<String, File>,
    /// The packages of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// A file of the tree.
pub(crate) struct File {
    /// Its text; empty where it is not UTF-8.
    pub(crate) text: String,
    /// Its tokens where it is a Rust file that can be read as one.
    pub(crate) tokens: Vec<Token>,
}

/// A package of the workspace.
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Whether it has a library.
    pub(crate) library: bool,
    /// Its folder, relative to the root.
    pub(crate) folder: String,
    /// The names of the packages that it depends on, of all kinds (normal, dev, build).
    pub(crate) dependencies: BTreeSet<String>,
}

/// Why the tree could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub(crate) struct TreeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Tree {
    /// Reads the tree of `workspace` from the disk.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        tree.folder_read(&workspace.root, "")?;
        for package in &workspace.packages {
            tree.packages.push(Package {
                name: package.name.clone(),
                library: package.is_library(),
                folder: package.folder(&workspace.root),
                dependencies: package.dependencies.iter().map(|it| it.name.clone()).collect(),
            });
        }
        Ok(tree)
    }

    /// The Rust files with their paths.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, file)| (path.as_str(), file))
    }

    fn folder_read(&mut self, folder: &Path, prefix: &str) -> Result<(), TreeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| TreeError { path, source }
        };
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let entry = entry.map_err(failed(folder))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().map_err(failed(&path))?;
            if FOREIGN.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.folder_read(&path, &format!("{prefix}{name}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(&path).map_err(failed(&path))?;
                self.file_add(format!("{prefix}{name}"), String::from_utf8(bytes).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Adds a file to the tree.
    pub(crate) fn file_add(&mut self, path: String, text: String) {
        let tokens = if path.ends_with(".rs") { tokens_of(&text) } else { Vec::new() };
        self.files.insert(path, File { text, tokens });
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of these paths and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.file_add((*path).to_owned(), (*text).to_owned());
        }
        tree
    }

    /// A tree of one Rust file, `crates/engine/src/x.rs`.
    pub(crate) fn of_rust(text: &str) -> Self {
        Self::of(&[("crates/engine/src/x.rs", text)])
    }

    /// A tree of these packages, in `crates/`, and what they depend on.
    pub(crate) fn of_packages(packages: &[(&str, &[&str])]) -> Self {
        let package = |(name, dependencies): &(&str, &[&str])| Package {
            name: (*name).to_owned(),
            library: true,
            folder: format!("crates/{name}"),
            dependencies: dependencies.iter().map(|it| (*it).to_owned()).collect(),
        };
        Self { packages: packages.iter().map(package).collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_on_disk_has_this_file_with_its_tokens_and_no_build_output() {
        let tree = Tree::read(&Workspace::read().unwrap()).unwrap();
        let this = &tree.files["xtask/src/source/tree.rs"];
        assert!(
            this.tokens
                .iter()
                .any(|token| token.text
                    == "the_tree_on_disk_has_this_file_with_its_tokens_and_no_build_output")
        );
        assert!(!tree.files.keys().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
        assert!(tree.packages.iter().any(|it| it.folder == "xtask" && it.dependencies.contains("clap")));
    }
}
