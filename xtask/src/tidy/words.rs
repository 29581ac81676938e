//! Words that stay out of the tree: paths of somebody's machine, host names of package registries, and notes
//! about work not done.
//!
//! The words are put together from pieces here, because this file is checked as well.

use super::Violation;
use crate::source::tokens::tokens_find;
use crate::source::tree::Tree;

/// Which characters next to a word make it part of a longer one that is meant.
enum Edges {
    /// Letters, digits and `_` on either side.
    Word,
    /// An absolute path, not the rest of a longer one.
    PathStart,
}

struct Rule {
    pieces: &'static [[&'static str; 2]],
    edges: Edges,
    instead: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        pieces: &[["/wo", "rk/"], ["/root/.ca", "rgo"], ["/root/.ru", "stup"]],
        edges: Edges::PathStart,
        instead: "is a path of one machine; find it at run time, or write a neutral example",
    },
    Rule {
        pieces: &[
            ["crates", ".io"],
            ["registry.npmjs", ".org"],
            ["registry.yarnpkg", ".com"],
            ["pypi", ".org"],
            ["files.pythonhosted", ".org"],
            ["deb.debian", ".org"],
            ["proxy.golang", ".org"],
        ],
        edges: Edges::Word,
        instead: "is the host of one package registry; leave the choice to the package manager's own settings \
                  (npm: `npm config set omit-lockfile-registry-resolved true`)",
    },
    Rule {
        pieces: &[["TO", "DO"], ["FIX", "ME"]],
        edges: Edges::Word,
        instead: "is a note about work not done; do it, or open an issue and delete the note",
    },
];

/// Macros that stand for code not written.
const MACROS: [&str; 2] = ["todo", "unimplemented"];

/// Written by tools, and necessarily with the names of registries.
const GENERATED: [&str; 1] = ["Cargo.lock"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in &tree.files {
        if GENERATED.iter().any(|name| path.rsplit('/').next() == Some(name)) {
            continue;
        }
        for rule in RULES {
            for word in rule.pieces.iter().map(|pieces| pieces.concat()) {
                for line in rule.edges.lines_with(&file.text, &word) {
                    violations.push(Violation::at(path, line, format!("`{word}` {}", rule.instead)));
                }
            }
        }
        for name in MACROS {
            for start in tokens_find(&file.tokens, &[name, "!"]) {
                let message = format!("`{name}!` is code not written; write it, or leave the feature out");
                violations.push(Violation::at(path, file.tokens[start].line, message));
            }
        }
    }
    violations
}

impl Edges {
    /// The lines of `text`, from 1, that have `word` on its own.
    fn lines_with(&self, text: &str, word: &str) -> Vec<usize> {
        let alone = |line: &str| {
            line.match_indices(word).any(|(start, _)| {
                let before = line[..start].chars().next_back();
                let after = line[start + word.len()..].chars().next();
                match self {
                    Self::Word => !before.is_some_and(is_word) && !after.is_some_and(is_word),
                    Self::PathStart => !before.is_some_and(|c| is_word(c) || "}>)-.*~".contains(c)),
                }
            })
        };
        text.lines().enumerate().filter(|(_, line)| alone(line)).map(|(index, _)| index + 1).collect()
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn each_kind_of_word_is_found_in_any_file() {
        let texts = [
            ["cd /wo", "rk/a"].concat(),
            ["// TO", "DO: later"].concat(),
            ["https://registry.npmjs", ".org/bun"].concat(),
            ["see crates", ".io."].concat(),
        ];
        for text in texts {
            let tree = Tree::of(&[("docs/a.md", &format!("fine\n{text}\n"))]);
            assert_eq!(places(&check(&tree)), ["docs/a.md:2"], "{text}");
        }
    }

    #[test]
    fn longer_words_and_paths_that_only_end_alike_pass() {
        let text = ["{dir}/wo", "rk/x a/wo", "rk/ /wo", "rkspace/ TO", "DOS crates-io"].concat();
        assert_eq!(check(&Tree::of(&[("docs/a.md", &text)])), []);
    }

    #[test]
    fn macros_for_missing_code_are_found_in_code_only() {
        let text = "// todo!\nfn a() { todo!() }\nfn b() { c(\"unimplemented!\") }";
        assert_eq!(places(&check(&Tree::of_rust(text))), ["crates/engine/src/x.rs:2"]);
    }

    #[test]
    fn lock_files_name_registries() {
        assert_eq!(check(&Tree::of(&[("fuzz/Cargo.lock", &["crates", ".io"].concat())])), []);
    }
}
