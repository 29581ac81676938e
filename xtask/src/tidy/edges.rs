//! Which package of the workspace may depend on which, in any dependency table.

use super::Violation;
use crate::source::tree::Tree;

/// A package, and the packages of ours that it may name.
const EDGES: &[(&str, &[&str])] = &[
    ("agent", &["protocol"]),
    ("api", &["engine", "protocol"]),
    ("atoll", &["api", "engine", "jail", "protocol", "storage", "store"]),
    ("bench", &["jail", "protocol"]),
    ("blackbox", &[]),
    ("engine", &["jail", "protocol", "storage", "store"]),
    ("jail", &["protocol", "storage"]),
    ("protocol", &[]),
    ("storage", &["protocol"]),
    ("store", &["protocol"]),
    ("xtask", &[]),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in &tree.packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some((name, allowed)) = EDGES.iter().find(|(name, _)| *name == package.name) else {
            let message = format!("say in xtask/src/tidy/edges.rs what `{}` may depend on", package.name);
            violations.push(Violation::of_file(&manifest, message));
            continue;
        };
        for dependency in &package.dependencies {
            let ours = tree.packages.iter().any(|package| package.name == *dependency);
            if ours && !allowed.contains(&dependency.as_str()) {
                let message = format!(
                    "`{name}` must not depend on `{dependency}`; move the code to where it may be used, \
                     or pass what is needed as an argument (ARCHITECTURE.md has the allowed edges)"
                );
                violations.push(Violation::of_file(&manifest, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn allowed_edges_and_crates_of_others_pass() {
        let tree =
            Tree::of_packages(&[("api", &["engine", "axum"]), ("engine", &["protocol"]), ("protocol", &[])]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn an_edge_past_the_engine_is_found() {
        let tree = Tree::of_packages(&[("api", &["engine", "store"]), ("engine", &[]), ("store", &[])]);
        assert_eq!(places(&check(&tree)), ["crates/api/Cargo.toml"]);
    }

    #[test]
    fn the_test_suite_knows_no_crate_of_ours() {
        let tree = Tree::of_packages(&[("blackbox", &["protocol"]), ("protocol", &[])]);
        assert_eq!(check(&tree).len(), 1);
    }

    #[test]
    fn a_new_package_must_be_entered() {
        let violations = check(&Tree::of_packages(&[("novelty", &[])]));
        assert!(violations[0].message.contains("edges.rs"), "{violations:?}");
    }
}
