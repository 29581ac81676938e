//! Promises name the test that holds them: in the documents of promises, each row of a table with a column
//! "Test" names a test that exists, or a command.

use std::collections::BTreeSet;

use super::Violation;
use crate::source::tokens::{Token, closing_bracket};
use crate::source::tree::Tree;

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/specification.md"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let tests = tests_of(tree);
    let mut violations = Vec::new();
    for path in DOCUMENTS {
        let Some(file) = tree.files.get(path) else { continue };
        for Promise { line, spans } in promises_of(&file.text) {
            if spans.is_empty() {
                let message = "this row promises something without a test; name one in its column \"Test\"";
                violations.push(Violation::at(path, line, message));
            }
            for span in spans.into_iter().filter(|span| !span.contains(' ')) {
                if !tests.iter().any(|test| test.is_named_by(span)) {
                    let message = format!("there is no test `{span}`; correct its name, or write it");
                    violations.push(Violation::at(path, line, message));
                }
            }
        }
    }
    violations
}

/// A row of a table with a column "Test", and the code spans in that column. Those with a space are commands.
struct Promise<'a> {
    line: usize,
    spans: Vec<&'a str>,
}

fn promises_of(text: &str) -> Vec<Promise<'_>> {
    let mut promises = Vec::new();
    let mut in_table = false;
    let mut column = None;
    for (index, line) in text.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|') else {
            (in_table, column) = (false, None);
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        if !in_table {
            in_table = true;
            column = cells.iter().position(|cell| ["test", "tests"].contains(&cell.to_lowercase().as_str()));
        } else if let Some(column) = column
            && !row.trim_matches(['|', '-', ':', ' ']).is_empty()
        {
            let cell = cells.get(column).copied().unwrap_or_default();
            promises.push(Promise { line: index + 1, spans: cell.split('`').skip(1).step_by(2).collect() });
        }
    }
    promises
}

/// A test function and every module it may be named after.
struct Test {
    name: String,
    modules: BTreeSet<String>,
}

impl Test {
    /// Whether `path` is the test's name, alone or after some of its modules.
    fn is_named_by(&self, path: &str) -> bool {
        let mut parts = path.rsplit("::");
        parts.next() == Some(&self.name) && parts.all(|part| self.modules.contains(part))
    }
}

fn tests_of(tree: &Tree) -> Vec<Test> {
    let mut tests = Vec::new();
    for (path, file) in tree.rust_files() {
        let mut modules: BTreeSet<_> =
            path.trim_end_matches(".rs").split('/').map(|part| part.replace('-', "_")).collect();
        modules.extend(words_after(&file.tokens, "mod"));
        let packages =
            tree.packages.iter().filter(|package| path.starts_with(&format!("{}/", package.folder)));
        modules.extend(packages.map(|package| package.name.replace('-', "_")));
        for name in test_names(&file.tokens) {
            tests.push(Test { name, modules: modules.clone() });
        }
    }
    tests
}

fn words_after<'a>(tokens: &'a [Token], word: &'a str) -> impl Iterator<Item = String> + 'a {
    tokens.windows(2).filter(move |pair| pair[0].text == word).map(|pair| pair[1].text.clone())
}

/// The functions with an attribute whose path ends with `test`, such as `#[tokio::test]`.
fn test_names(tokens: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    let mut index = 0;
    while let [token, rest @ ..] = &tokens[index..] {
        match (token.text.as_str(), rest) {
            ("#", [open, ..]) if open.text == "[" => {
                let close = closing_bracket(tokens, index + 1);
                let mut path = tokens[index + 2..close].iter().take_while(|token| token.text != "(");
                marked |= path.by_ref().last().is_some_and(|token| token.text.ends_with("test"));
                index = close;
            }
            ("fn", [name, ..]) if marked => {
                names.push(name.text.clone());
                marked = false;
            }
            ("{" | ";", _) => marked = false,
            _ => {}
        }
        index += 1;
        if index >= tokens.len() {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tree::Package;
    use crate::tidy::places;

    const SUITE: &str = "
        #[test] fn host_is_hidden() {}
        #[tokio::test(flavor = \"multi_thread\")] async fn clock_is_fixed() {}
        #[cfg(test)] mod tests { fn no_test() {} }
        proptest! { #[test] fn names_never_escape(name in \".*\") {} }";

    fn violations_of(rows: &str) -> Vec<Violation> {
        let text = format!("# Promises\n\n| Promise | Test |\n|---|:--|\n{rows}\n\nMore `prose`.\n");
        let mut tree = Tree::of(&[("SECURITY.md", &text), ("tests/tests/isolation.rs", SUITE)]);
        tree.packages.push(Package {
            name: "blackbox".into(),
            library: false,
            folder: "tests".into(),
            dependencies: BTreeSet::new(),
        });
        check(&tree)
    }

    #[test]
    fn tests_that_exist_and_commands_pass() {
        let rows = "| a | `host_is_hidden` |\n| b | `isolation::clock_is_fixed`, `tests::names_never_escape` |\n\
                    | c | `blackbox::isolation::host_is_hidden` |\n| d | `cargo xtask bench` |";
        assert_eq!(violations_of(rows), []);
    }

    #[test]
    fn missing_tests_and_plain_functions_are_found() {
        for name in ["host_is_visible", "no_test", "network::host_is_hidden"] {
            assert_eq!(places(&violations_of(&format!("| a | `{name}` |"))), ["SECURITY.md:5"], "{name}");
        }
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        assert_eq!(places(&violations_of("| a | `host_is_hidden` |\n| b | |")), ["SECURITY.md:6"]);
    }

    #[test]
    fn tables_without_the_column_promise_nothing() {
        let tree = Tree::of(&[("docs/specification.md", "| Step | ms |\n|---|---|\n| `clone3` | 1 |\n")]);
        assert_eq!(check(&tree), []);
    }
}
