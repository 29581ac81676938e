//! What went wrong, for the person at the terminal: the error, its causes, and a hint.

use std::{error::Error, fmt, process::ExitCode};

use crate::terminal;

/// An error that ends the program.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    status: u8,
}

/// The exit status of most failures.
const FAILED: u8 = 1;

/// What a shell reports of a program that SIGPIPE ended.
const READER_GONE: u8 = 128 + 13;

/// What a command returns.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure without a cause.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, status: FAILED }
    }

    /// Whoever read the output has had enough, as in `atoll ps | head`: the program ends, and says nothing.
    pub(crate) fn reader_gone() -> Self {
        Self { status: READER_GONE, ..Self::new("") }
    }

    /// Tells it, and returns the exit status.
    pub(crate) fn tell(&self) -> ExitCode {
        if self.status != READER_GONE {
            terminal::say(self);
        }
        ExitCode::from(self.status)
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(out, "\n  because: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(out, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Says what was being done when an error came.
pub(crate) trait During<T> {
    fn during(self, what: &str) -> Outcome<T>;
}

impl<T, E: Error> During<T> for Result<T, E> {
    fn during(self, what: &str) -> Outcome<T> {
        self.map_err(|error| {
            let mut causes = vec![error.to_string()];
            let mut source = error.source();
            while let Some(cause) = source {
                causes.push(cause.to_string());
                source = cause.source();
            }
            Failure { causes, ..Failure::new(what) }
        })
    }
}
