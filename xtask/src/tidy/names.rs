//! Modules are named by what they do: a name that fits anything gathers everything.

use super::Violation;
use crate::source::tokens::tokens_find;
use crate::source::tree::Tree;

const FORBIDDEN: [&str; 7] = ["common", "helper", "helpers", "manager", "misc", "util", "utils"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found = |path: &str, line, name: &str| {
        let message = format!("a module called `{name}` could hold anything; name it by what it does");
        violations.push(Violation::at(path, line, message));
    };
    for (path, file) in tree.rust_files() {
        for name in path.trim_end_matches(".rs").split('/').filter(|name| FORBIDDEN.contains(name)) {
            found(path, 1, name);
        }
        for start in tokens_find(&file.tokens, &["mod"]) {
            let [_, name, open, ..] = &file.tokens[start..] else { continue };
            // A module in a file of its own is found by that file's name.
            if open.text == "{" && FORBIDDEN.contains(&name.text.as_str()) {
                found(path, name.line, &name.text);
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
    fn files_folders_and_inline_modules_are_found() {
        let tree = Tree::of(&[
            ("crates/api/src/utils.rs", ""),
            ("tests/common/mod.rs", ""),
            ("xtask/src/a.rs", "mod a {}\nmod helpers {\n}"),
        ]);
        assert_eq!(
            places(&check(&tree)),
            ["crates/api/src/utils.rs:1", "tests/common/mod.rs:1", "xtask/src/a.rs:2"]
        );
    }

    #[test]
    fn words_inside_other_words_and_other_files_pass() {
        let tree = Tree::of(&[("crates/a/src/commonmark.rs", "fn helpers() {}"), ("docs/misc/a.md", "")]);
        assert_eq!(check(&tree), []);
    }
}
