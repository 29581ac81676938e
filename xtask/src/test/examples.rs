//! The examples in the documentation of libraries, which rustdoc runs as tests.

use crate::command::{CommandError, cargo, command_run};
use crate::source::documentation::{CodeBlock, code_blocks};
use crate::source::tree::Tree;
use crate::workspace::Workspace;

/// Runs the examples. Cargo builds all dependencies once more for this, so that it is told only of the packages
/// that have any.
pub(super) fn examples_run(workspace: &Workspace, tree: &Tree) -> Result<(), CommandError> {
    let packages = packages_with_examples(tree);
    if packages.is_empty() {
        return Ok(());
    }
    let mut command = cargo(workspace);
    command.args(["test", "--doc", "--quiet"]);
    for package in packages {
        command.args(["--package", package]);
    }
    command_run(&mut command)
}

fn packages_with_examples(tree: &Tree) -> Vec<&str> {
    let has_example = |folder: &str| {
        let sources = format!("{folder}/src/");
        tree.rust_files()
            .filter(|(path, _)| path.starts_with(&sources))
            .any(|(_, file)| code_blocks(&file.text).iter().any(CodeBlock::is_test))
    };
    let packages = tree.packages.iter().filter(|package| package.library && has_example(&package.folder));
    packages.map(|package| package.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_with_rust_in_their_documentation_are_found() {
        let mut tree = Tree::of_packages(&[("jail", &[]), ("engine", &[]), ("store", &[]), ("atoll", &[])]);
        tree.packages[3].library = false;
        tree.file_add("crates/jail/src/plan.rs".into(), "/// ```\n/// a();\n/// ```\n".into());
        tree.file_add("crates/engine/src/lib.rs".into(), "/// ```text\n/// a\n/// ```\n".into());
        tree.file_add("crates/atoll/src/main.rs".into(), "/// ```\n/// a();\n/// ```\n".into());
        assert_eq!(packages_with_examples(&tree), ["jail"]);
    }
}
