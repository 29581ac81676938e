//! No test is left out: neither by an attribute nor by the language of a code block in documentation.

use super::Violation;
use crate::source::documentation::code_blocks;
use crate::source::tokens::closing_bracket;
use crate::source::tree::Tree;

const MESSAGE: &str = "an ignored test proves nothing; make it run everywhere, or delete it";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, file) in tree.rust_files() {
        for (index, pair) in file.tokens.windows(2).enumerate() {
            if pair[0].text != "#" || pair[1].text != "[" {
                continue;
            }
            let attribute = &file.tokens[index + 2..closing_bracket(&file.tokens, index + 1)];
            let word = |at: usize| attribute.get(at).map(|token| token.text.as_str());
            let conditional =
                word(0) == Some("cfg_attr") && attribute.iter().any(|token| token.text == "ignore");
            if word(0) == Some("ignore") || conditional {
                violations.push(Violation::at(path, pair[0].line, MESSAGE));
            }
        }
        for block in code_blocks(&file.text).iter().filter(|block| block.has("ignore")) {
            violations.push(Violation::at(path, block.line, MESSAGE));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn each_form_is_found() {
        for text in [
            "#[ignore]\nfn a() {}",
            "#[ignore = \"slow\"]\nfn a() {}",
            "#[cfg_attr(not(root), ignore)]\nfn a() {}",
            "/// ```ignore\nfn a() {}",
            "//! ```rust,ignore\n",
        ] {
            assert_eq!(places(&check(&Tree::of_rust(text))), ["crates/engine/src/x.rs:1"], "{text}");
        }
    }

    #[test]
    fn the_word_elsewhere_passes() {
        let text = "// #[ignore]\n#[serde(default)] fn ignore() { a(\"#[ignore]\") }\n/// ```text\n/// ignore\n/// ```\n";
        assert_eq!(check(&Tree::of_rust(text)), []);
    }
}
