//! Files stay small enough to read: a limit for each, and one for the median of the crates' sources.

use super::Violation;
use crate::source::tree::{File, Tree};

const LINES_MAX: usize = 800;
const LINES_MEDIAN_MAX: usize = 150;

/// Written by hand, and so limited. Data such as snapshots and lock files may be longer.
const SOURCES: [&str; 9] = [".css", ".html", ".js", ".mjs", ".py", ".rs", ".sh", ".sql", ".ts"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        let lines = lines_of(file);
        if lines > LINES_MAX && SOURCES.iter().any(|suffix| path.ends_with(suffix)) {
            let message =
                format!("{lines} lines, the limit is {LINES_MAX}; split the file by what its parts do");
            violations.push(Violation::of_file(path, message));
        }
    }
    let median = median_of(&crate_sources(tree));
    if median > LINES_MEDIAN_MAX {
        let message = format!(
            "the median source file has {median} lines, the limit is {LINES_MEDIAN_MAX}; split the long ones"
        );
        violations.push(Violation::of_file("crates", message));
    }
    violations
}

/// The numbers the rule is about, in a line.
pub(super) fn report(tree: &Tree) -> String {
    let sizes = crate_sources(tree);
    let total: usize = sizes.iter().sum();
    let longest = tree.rust_files().max_by_key(|(_, file)| lines_of(file));
    let (path, lines) = longest.map_or(("none", 0), |(path, file)| (path, lines_of(file)));
    format!(
        "{} files in crates/*/src, {total} lines, median {}; longest Rust file {path}, {lines}",
        sizes.len(),
        median_of(&sizes)
    )
}

fn crate_sources(tree: &Tree) -> Vec<usize> {
    let inside = |path: &str| path.starts_with("crates/") && path.contains("/src/");
    let mut sizes: Vec<_> =
        tree.rust_files().filter(|(path, _)| inside(path)).map(|(_, file)| lines_of(file)).collect();
    sizes.sort_unstable();
    sizes
}

fn lines_of(file: &File) -> usize {
    file.text.lines().count()
}

fn median_of(sorted: &[usize]) -> usize {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    fn tree_of(files: &[(&str, usize)]) -> Tree {
        let texts: Vec<_> = files.iter().map(|(path, lines)| (*path, "\n".repeat(*lines))).collect();
        Tree::of(&texts.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>())
    }

    #[test]
    fn a_long_file_is_found_in_any_language_and_any_folder() {
        let tree =
            tree_of(&[("tests/a.rs", 801), ("ui/b.ts", 801), ("ui/c.ts", 800), ("docs/openapi.json", 5000)]);
        assert_eq!(places(&check(&tree)), ["tests/a.rs", "ui/b.ts"]);
    }

    #[test]
    fn the_median_is_of_the_crates_sources_only() {
        let long = [("crates/a/src/a.rs", 200), ("crates/a/src/b.rs", 151), ("crates/a/src/c.rs", 10)];
        assert_eq!(places(&check(&tree_of(&long))), ["crates"]);
        let long_tests = [("crates/a/tests/a.rs", 200), ("tests/b.rs", 200), ("crates/a/src/c.rs", 10)];
        assert_eq!(check(&tree_of(&long_tests)), []);
    }

    #[test]
    fn the_report_names_the_numbers() {
        let tree = tree_of(&[("crates/a/src/a.rs", 3), ("crates/a/src/b.rs", 5), ("crates/a/src/c.rs", 1)]);
        let expected = "3 files in crates/*/src, 9 lines, median 3; longest Rust file crates/a/src/b.rs, 5";
        assert_eq!(report(&tree), expected);
    }
}
