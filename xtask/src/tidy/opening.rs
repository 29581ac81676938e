//! Every Rust file opens with what it is for: its first line starts a module's documentation.

use super::Violation;
use crate::source::tree::Tree;

const MESSAGE: &str = "open the file with `//!`: what it is for, and what it must not know";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.rust_files()
        .filter(|(_, file)| !file.text.starts_with("//! "))
        .map(|(path, _)| Violation::at(path, 1, MESSAGE))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_file_that_says_what_it_is_for_passes() {
        assert_eq!(check(&Tree::of_rust("//! Leases.\nfn a() {}\n")), []);
    }

    #[test]
    fn a_file_that_starts_with_code_or_an_empty_opening_does_not() {
        for text in ["use std::fs;\n", "//!\n", "// Leases.\n", ""] {
            assert_eq!(places(&check(&Tree::of_rust(text))), ["crates/engine/src/x.rs:1"], "{text:?}");
        }
    }
}
