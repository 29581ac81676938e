//! One dialect never names another: what two of them need is a thing of the engine, or of `api` above them.

use std::collections::BTreeSet;

use super::Violation;
use crate::source::tokens::{Token, closing_bracket, tokens_start_with};
use crate::source::tree::Tree;

const HOME: &str = "crates/api/src/dialects/";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let dialects: BTreeSet<_> = tree.rust_files().filter_map(|(path, _)| dialect_of(path)).collect();
    let mut violations = Vec::new();
    for (path, file) in tree.rust_files() {
        let Some(own) = dialect_of(path) else { continue };
        for (named, line) in siblings_named(&file.tokens, module_depth(path)) {
            if named != own && dialects.contains(named) {
                let message = format!(
                    "dialect `{own}` must not name dialect `{named}`; move what both need to the engine, \
                     or to a module of `api` outside of dialects/"
                );
                violations.push(Violation::at(path, line, message));
            }
        }
    }
    violations
}

/// The dialect whose folder holds the file.
fn dialect_of(path: &str) -> Option<&str> {
    path.strip_prefix(HOME)?.split_once('/').map(|(dialect, _)| dialect)
}

/// How many `super::` lead from the file's module to `dialects`.
fn module_depth(path: &str) -> usize {
    let inside = path.strip_prefix(HOME).unwrap_or(path);
    inside.split('/').count() - usize::from(inside.ends_with("/mod.rs"))
}

/// The words that stand directly below `dialects` in a path, with their lines. Longer chains of `super::` than
/// `depth` come from modules inside the file.
fn siblings_named(tokens: &[Token], depth: usize) -> Vec<(&str, usize)> {
    let mut named = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let start = index;
        let mut supers = 0;
        while tokens_start_with(&tokens[index..], &["super", ":", ":"]) {
            supers += 1;
            index += 3;
        }
        if supers >= depth {
            named.extend(path_heads(tokens, index));
        } else if tokens_start_with(&tokens[index..], &["dialects", ":", ":"]) {
            index += 3;
            named.extend(path_heads(tokens, index));
        }
        // What follows is looked at on its own: `super::dialects::x` has both forms.
        index = index.max(start + 1);
    }
    named
}

/// The first word of the path at `index`, or of each path in the braces there.
fn path_heads(tokens: &[Token], index: usize) -> Vec<(&str, usize)> {
    let Some(first) = tokens.get(index) else { return Vec::new() };
    if first.text != "{" {
        return vec![(&first.text, first.line)];
    }
    let mut heads = Vec::new();
    let close = closing_bracket(tokens, index);
    let mut inner = index + 1;
    let mut at_start = true;
    while inner < close {
        let token = &tokens[inner];
        if at_start {
            heads.push((token.text.as_str(), token.line));
        }
        at_start = token.text == ",";
        inner = if token.text == "{" { closing_bracket(tokens, inner) } else { inner } + 1;
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    fn violations_of(path: &str, text: &str) -> Vec<Violation> {
        check(&Tree::of(&[
            (&format!("{HOME}{path}"), text),
            (&format!("{HOME}vms/convert.rs"), "//! Other."),
            (&format!("{HOME}executor/convert.rs"), "//! Other."),
        ]))
    }

    #[test]
    fn a_dialect_may_name_itself_the_engine_and_shared_modules() {
        let text =
            "use super::types::Vm; use crate::dialects::sessions::types; use super::super::sessions::error;
            use crate::auth::Key; use engine::vms::Vm; fn vms(vms: u8) { vms::get() }";
        assert_eq!(violations_of("sessions/convert.rs", text), []);
    }

    #[test]
    fn another_dialect_is_found_in_each_form_of_path() {
        for (path, text) in [
            ("sessions/mod.rs", "use super::vms;"),
            ("sessions/convert.rs", "use super::super::vms::types::Vm;"),
            ("sessions/handlers/create.rs", "fn a() { super::super::super::vms::b() }"),
            ("sessions/convert.rs", "use crate::dialects::vms::types::Vm;"),
            ("sessions/convert.rs", "use crate::{auth, dialects::{sessions::{a, b}, vms}};"),
            ("sessions/convert.rs", "mod tests { use super::super::super::vms; }"),
        ] {
            let violations = violations_of(path, text);
            assert_eq!(places(&violations), [format!("{HOME}{path}:1")], "{text}");
        }
    }

    #[test]
    fn each_of_several_is_named() {
        let violations = violations_of("sessions/mod.rs", "use super::{\n vms,\n executor,\n};");
        let path = format!("{HOME}sessions/mod.rs");
        assert_eq!(places(&violations), [format!("{path}:2"), format!("{path}:3")]);
    }
}
