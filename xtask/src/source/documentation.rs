//! The code blocks in the documentation comments of Rust files: those that rustdoc runs as tests, and others.

/// A code block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CodeBlock<'a> {
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence, such as `rust,no_run`.
    language: &'a str,
}

impl CodeBlock<'_> {
    /// Whether its language has `word`.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words().any(|it| it == word)
    }

    /// Whether rustdoc takes it for a test: nothing but Rust's own words, see the rustdoc book, "Documentation tests".
    pub(crate) fn is_test(&self) -> bool {
        let ours = ["", "compile_fail", "ignore", "no_run", "rust", "should_panic"];
        self.words().all(|word| ours.contains(&word) || word.starts_with("edition"))
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.language.split(',').map(str::trim)
    }
}

/// The code blocks in the documentation comments of `source`.
pub(crate) fn code_blocks(source: &str) -> Vec<CodeBlock<'_>> {
    let mut blocks = Vec::new();
    let mut inside = false;
    for (index, line) in source.lines().enumerate() {
        let comment = line.trim_start().strip_prefix("//").and_then(|rest| rest.strip_prefix(['/', '!']));
        let Some(comment) = comment else {
            // A comment's end closes its block.
            inside = false;
            continue;
        };
        if let Some(language) = comment.trim_start().strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push(CodeBlock { line: index + 1, language });
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_fences_are_told_from_closing_ones() {
        let source = "//! ```text\n//! a\n//! ```\n\n    /// ```\n    /// b();\n    /// ```\n// ```\nlet s = \"```\";\n";
        let languages: Vec<_> =
            code_blocks(source).iter().map(|block| (block.line, block.language)).collect();
        assert_eq!(languages, [(1, "text"), (5, "")]);
    }

    #[test]
    fn only_rust_is_a_test() {
        for (fence, test) in
            [("", true), ("rust,no_run", true), ("edition2024", true), ("text", false), ("json", false)]
        {
            assert_eq!(code_blocks(&format!("/// ```{fence}\n"))[0].is_test(), test, "{fence}");
        }
    }
}
