//! The rules of the house as checks over the source: each file here is one rule, and says what to do about a
//! violation.
//!
//! The rules see a [`Tree`] and nothing else, so that their tests can show them good and bad ones.

mod dependencies;
mod dialects;
mod edges;
mod ignored;
mod links;
mod names;
mod opening;
mod promises;
mod schemas;
mod size;
mod unsafety;
mod words;

use crate::source::tree::{Tree, TreeError};
use crate::workspace::Workspace;

/// A rule: what it is called, and the check.
type Rule = (&'static str, fn(&Tree) -> Vec<Violation>);

const RULES: &[Rule] = &[
    ("opening", opening::check),
    ("size", size::check),
    ("edges", edges::check),
    ("dependencies", dependencies::check),
    ("unsafety", unsafety::check),
    ("dialects", dialects::check),
    ("names", names::check),
    ("words", words::check),
    ("links", links::check),
    ("promises", promises::check),
    ("schemas", schemas::check),
    ("ignored", ignored::check),
];

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    /// `path` or `path:line`.
    place: String,
    /// What is wrong and what to do.
    message: String,
}

impl Violation {
    fn of_file(path: &str, message: impl Into<String>) -> Self {
        Self { place: path.to_owned(), message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { place: format!("{path}:{line}"), message: message.into() }
    }
}

/// Why the tree does not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    /// It could not be read.
    #[error("cannot read the source")]
    Tree(#[from] TreeError),
    /// Rules are broken.
    #[error(
        "a rule is broken at {count} places, see above; each rule is explained in xtask/src/tidy/<rule>.rs"
    )]
    Violations {
        /// How many.
        count: usize,
    },
}

/// The places of `violations`, for comparisons in tests.
#[cfg(test)]
fn places(violations: &[Violation]) -> Vec<&str> {
    violations.iter().map(|violation| violation.place.as_str()).collect()
}

/// Checks the workspace's tree against all rules and prints what breaks them.
pub(crate) fn tidy(workspace: &Workspace) -> Result<(), TidyError> {
    let tree = Tree::read(workspace)?;
    let mut count = 0;
    for (rule, check) in RULES {
        let mut violations = check(&tree);
        // A word that stands twice in a line is one violation.
        violations.dedup();
        for Violation { place, message } in violations {
            println!("{place}: [{rule}] {message}");
            count += 1;
        }
    }
    println!("tidy: {}", size::report(&tree));
    if count == 0 { Ok(()) } else { Err(TidyError::Violations { count }) }
}
