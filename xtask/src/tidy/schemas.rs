//! Each body has a name of its own in the OpenAPI document: of two with the same name one is lost there without a word.

use std::collections::BTreeMap;

use super::Violation;
use crate::source::tokens::{Token, tokens_find};
use crate::source::tree::Tree;

/// Where bodies are described.
const API: &str = "crates/api/src/";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut places: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    let mut violations = Vec::new();
    for (path, file) in tree.rust_files().filter(|(path, _)| path.starts_with(API)) {
        for start in tokens_find(&file.tokens, &["ToSchema"]) {
            let Some((name, line)) = described(&file.tokens[start..]) else { continue };
            match places.get(&name) {
                Some((first, at)) => violations.push(Violation::at(
                    path,
                    line,
                    format!(
                        "the OpenAPI document has a `{name}` already, of {first}:{at}; add #[schema(as = …)]"
                    ),
                )),
                None => {
                    places.insert(name, (path, line));
                }
            }
        }
    }
    violations
}

/// The name in the document of what is declared after this derive, and the line of its declaration.
fn described(tokens: &[Token]) -> Option<(String, usize)> {
    let is = |token: &Token, words: &[&str]| words.contains(&token.text.as_str());
    // An import is no derive.
    let end = tokens.iter().position(|token| is(token, &["struct", "enum", ";"]))?;
    if is(&tokens[end], &[";"]) {
        return None;
    }
    let declared = tokens.get(end + 1)?;
    let renamed = tokens_find(&tokens[..end], &["schema", "(", "as", "="]).next().map(|start| {
        let name = tokens[start + 4..end].iter().take_while(|token| !is(token, &[")", ","]));
        name.map(|token| token.text.as_str()).collect::<String>()
    });
    Some((renamed.unwrap_or_else(|| declared.text.clone()), declared.line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_second_body_of_a_name_is_found_unless_it_is_described_under_another() {
        let tree = Tree::of(&[
            ("crates/api/src/a.rs", "use utoipa::ToSchema;\n#[derive(ToSchema)]\nstruct Body {}"),
            ("crates/api/src/b.rs", "#[derive(Debug, ToSchema)]\n#[serde(x)]\nenum Body {}"),
            ("crates/api/src/c.rs", "#[derive(ToSchema)]\n#[schema(as = c::Body)]\nstruct Body {}"),
            ("crates/api/src/d.rs", "#[derive(ToSchema)]\n#[schema(as = c::Body)]\nstruct Other {}"),
        ]);
        assert_eq!(places(&check(&tree)), ["crates/api/src/b.rs:3", "crates/api/src/d.rs:3"]);
    }
}
