//! `unsafe` and raw system calls stand in two files, few, each block with the reason why it is sound.

use super::Violation;
use crate::source::tokens::{tokens_find, tokens_start_with};
use crate::source::tree::{File, Tree};

/// The crates with a `sys.rs` or `sys/`.
const HOMES: [&str; 2] = ["crates/agent/src/sys", "crates/jail/src/sys"];

/// All `unsafe` blocks together.
const BLOCKS_MAX: usize = 60;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut blocks = 0;
    for (path, file) in tree.rust_files() {
        if is_home(path) {
            blocks += blocks_check(path, file, &mut violations);
        } else {
            words_check(path, file, &mut violations);
        }
    }
    if blocks > BLOCKS_MAX {
        let message = format!(
            "{blocks} `unsafe` blocks, the limit is {BLOCKS_MAX}; use the safe API of rustix, or share one"
        );
        violations.push(Violation::of_file("crates", message));
    }
    violations
}

fn is_home(path: &str) -> bool {
    HOMES
        .iter()
        .any(|home| path.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
}

/// Outside its homes neither word may stand.
fn words_check(path: &str, file: &File, violations: &mut Vec<Violation>) {
    for token in &file.tokens {
        let instead = match token.text.as_str() {
            "unsafe" => "wrap the call in a safe function",
            // A test may name the kernel's numbers; calling it takes `unsafe` all the same.
            "libc" if !path.contains("/tests/") => "use rustix, or wrap the call in a safe function",
            _ => continue,
        };
        let message =
            format!("`{}` belongs in crates/{{jail,agent}}/src/sys.rs; {instead} there", token.text);
        violations.push(Violation::at(path, token.line, message));
    }
}

/// In its homes each block needs its reason. Returns how many blocks there are.
fn blocks_check(path: &str, file: &File, violations: &mut Vec<Violation>) -> usize {
    let lines: Vec<_> = file.text.lines().collect();
    let mut blocks = 0;
    for start in tokens_find(&file.tokens, &["unsafe"]) {
        if !tokens_start_with(&file.tokens[start..], &["unsafe", "{"]) {
            continue;
        }
        blocks += 1;
        let line = file.tokens[start].line;
        if !reason_above(&lines[..line - 1]) {
            let message = "write `// SAFETY:` above this block: why each condition of the call holds";
            violations.push(Violation::at(path, line, message));
        }
    }
    blocks
}

/// Whether a comment with `SAFETY:` stands directly above the statement that goes on after `lines`.
fn reason_above(lines: &[&str]) -> bool {
    let mut above = lines.iter().rev().map(|line| line.trim());
    let is_comment = |line: &&str| line.starts_with("//");
    // The block may be the end of a statement of several lines.
    let comment =
        above.by_ref().find(|line| is_comment(line) || line.ends_with([';', '{', '}']) || line.is_empty());
    comment.into_iter().chain(above).take_while(is_comment).any(|line| line.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn blocks_with_reasons_pass_in_their_homes() {
        let text = "\
// SAFETY: `fd` is open,
// and nobody else closes it.
let a = unsafe { close(fd) };
// SAFETY: no arguments.
let b =
    unsafe { getpid() };
unsafe fn raw() {}
";
        for path in ["crates/jail/src/sys.rs", "crates/agent/src/sys/pty.rs"] {
            assert_eq!(check(&Tree::of(&[(path, text)])), [], "{path}");
        }
    }

    #[test]
    fn a_block_without_a_reason_of_its_own_is_found() {
        let text = "// SAFETY: no arguments.\nlet a = unsafe { a() };\nlet b = unsafe { b() };\n";
        let violations = check(&Tree::of(&[("crates/jail/src/sys.rs", text)]));
        assert_eq!(places(&violations), ["crates/jail/src/sys.rs:3"]);
    }

    #[test]
    fn both_words_are_found_elsewhere_but_not_in_prose() {
        let text = "// unsafe libc::fork\nfn a() { b(\"unsafe\"); libc::getpid();\n unsafe {} }\n";
        let violations = check(&Tree::of_rust(text));
        assert_eq!(places(&violations), ["crates/engine/src/x.rs:2", "crates/engine/src/x.rs:3"]);
        assert_eq!(check(&Tree::of(&[("crates/jail/src/system.rs", "use libc::c_int;")])).len(), 1);
    }

    #[test]
    fn blocks_are_counted_over_both_homes() {
        let text = "// SAFETY: yes.\nunsafe { a() };\n".repeat(BLOCKS_MAX);
        let one = [("crates/jail/src/sys.rs", text.as_str())];
        assert_eq!(check(&Tree::of(&one)), []);
        let more = [one[0], ("crates/agent/src/sys.rs", "// SAFETY: yes.\nunsafe { a() };\n")];
        assert_eq!(places(&check(&Tree::of(&more))), ["crates"]);
    }
}
