//! `cargo xtask test`: the steps a change must pass, in order, each with its time.

mod examples;
mod nextest;

use std::error::Error;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::command::{CommandError, cargo, command_run};
use crate::setup::Purpose;
use crate::source::tree::Tree;
use crate::workspace::Workspace;
use crate::{release, setup, tidy};

/// Options of `cargo xtask test`.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Run only the tests with this text in their name, and no other step.
    filter: Option<String>,
    /// Run only one part.
    #[arg(long, value_name = "PART", conflicts_with = "filter")]
    only: Option<Part>,
}

/// A part of the checks that can run alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Set-up, release build, examples in documentation, and all tests.
    Tests,
    /// Formatting, clippy and rustdoc, with warnings as errors.
    Lint,
    /// The tidy rules, as `cargo xtask tidy`.
    Tidy,
}

impl TestArgs {
    fn includes(&self, part: Part) -> bool {
        match self.only {
            Some(only) => only == part,
            None => self.filter.is_none() || part == Part::Tests,
        }
    }
}

/// Runs the steps that `args` choose and stops at the first that fails.
///
/// The quick steps come first. The test runner comes last and has the last word in the output.
pub(crate) fn test(workspace: &Workspace, args: &TestArgs) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    if args.includes(Part::Tidy) {
        step("tidy", || tidy::tidy(workspace))?;
    }
    if args.includes(Part::Lint) {
        step("formatting", || command_run(cargo(workspace).args(["fmt", "--all", "--check"])))?;
    }
    if args.includes(Part::Tests) {
        step("set-up", || setup::setup(Purpose::Tests))?;
        step("test runner", || nextest::install(workspace))?;
        step("published clients", || setup::clients_install(workspace).map(drop))?;
    }
    if args.includes(Part::Lint) {
        step("clippy", || clippy(workspace))?;
        step("documentation", || rustdoc(workspace))?;
    }
    if args.includes(Part::Tests) {
        let binary = step("release build, and the tests' beside it", || builds(workspace))?;
        step("toolchains", || release::toolchains_install(workspace, &binary))?;
        let tree = Tree::read(workspace)?;
        step("examples in documentation", || examples::examples_run(workspace, &tree))?;
        let run = nextest::Run { workspace, binary: &binary, filter: args.filter.as_deref() };
        step("test build", || run.skipped_check())?;
        eprintln!("== tests (all steps before took {:.0} s)", start.elapsed().as_secs_f64());
        run.start()?;
    }
    Ok(())
}

/// Runs one step between a line that names it and a line with its time.
fn step<T, E>(name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    eprintln!("== {name}");
    let start = Instant::now();
    let outcome = work();
    let word = if outcome.is_ok() { "done" } else { "failed" };
    eprintln!("== {name} {word} in {:.1} s", start.elapsed().as_secs_f64());
    outcome
}

/// Builds the release binary, and the tests beside it: one crate after the other is waited for in each, so that both at
/// once keep two processors busier than one after the other.
fn builds(workspace: &Workspace) -> Result<PathBuf, CommandError> {
    thread::scope(|scope| {
        let tests = scope
            .spawn(|| command_run(cargo(workspace).args(["test", "--workspace", "--no-run", "--quiet"])));
        let binary = release::build(workspace);
        tests.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        binary
    })
}

fn clippy(workspace: &Workspace) -> Result<(), CommandError> {
    command_run(cargo(workspace).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn rustdoc(workspace: &Workspace) -> Result<(), CommandError> {
    let mut command = cargo(workspace);
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command_run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_runs_tests_only() {
        let args = TestArgs { filter: Some("fork".into()), only: None };
        assert!(args.includes(Part::Tests) && !args.includes(Part::Lint) && !args.includes(Part::Tidy));
    }

    #[test]
    fn without_options_everything_runs() {
        let args = TestArgs { filter: None, only: None };
        assert!([Part::Tests, Part::Lint, Part::Tidy].into_iter().all(|part| args.includes(part)));
    }

    #[test]
    fn one_part_runs_alone() {
        let args = TestArgs { filter: None, only: Some(Part::Lint) };
        assert!(args.includes(Part::Lint) && !args.includes(Part::Tests) && !args.includes(Part::Tidy));
    }
}
