//! Which crates of others stay behind which crate of ours: SQL in one place, HTTP in one place, no async
//! runtime where none is needed.

use super::Violation;
use crate::source::tree::Tree;

/// A family of packages, where it may be used in `crates/`, and what to do instead.
struct Fence {
    /// Packages whose name starts so.
    prefix: &'static str,
    allowed: fn(&str) -> bool,
    instead: &'static str,
}

const FENCES: &[Fence] = &[
    Fence {
        prefix: "rusqlite",
        allowed: |package| package == "store",
        instead: "add a typed record to `store` and call that",
    },
    Fence {
        prefix: "axum",
        allowed: |package| package == "api",
        instead: "leave HTTP to `api`, and return types that know nothing of it",
    },
    Fence {
        prefix: "hyper",
        allowed: |package| ["api", "agent"].contains(&package),
        instead: "leave HTTP to `api` and the agent's own `http`, and return types that know nothing of it",
    },
    Fence {
        prefix: "tokio",
        allowed: |package| !["protocol", "storage"].contains(&package),
        instead: "write plain blocking code, the caller decides on which thread it runs",
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages.iter().filter(|package| package.folder.starts_with("crates/")) {
        for dependency in &package.dependencies {
            for Fence { prefix, allowed, instead } in FENCES {
                if dependency.starts_with(prefix) && !allowed(&package.name) {
                    let message = format!("`{}` must not depend on `{dependency}`; {instead}", package.name);
                    violations.push(Violation::of_file(&format!("{}/Cargo.toml", package.folder), message));
                }
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tree::Package;
    use crate::tidy::places;

    #[test]
    fn each_family_passes_at_its_home() {
        let tree = Tree::of_packages(&[
            ("store", &["rusqlite", "tokio"]),
            ("api", &["axum", "hyper-util", "tokio-stream"]),
            ("storage", &["tar"]),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn each_family_is_found_elsewhere() {
        for (package, dependency) in
            [("engine", "rusqlite"), ("engine", "axum"), ("atoll", "hyper-util"), ("storage", "tokio-util")]
        {
            let tree = Tree::of_packages(&[(package, &[dependency])]);
            assert_eq!(places(&check(&tree)), [format!("crates/{package}/Cargo.toml")], "{dependency}");
        }
    }

    #[test]
    fn tests_and_the_benchmark_may_be_http_clients() {
        let mut tree = Tree::default();
        tree.packages.push(Package {
            name: "blackbox".into(),
            library: false,
            folder: "tests".into(),
            dependencies: ["hyper".to_owned()].into(),
        });
        assert_eq!(check(&tree), []);
    }
}
