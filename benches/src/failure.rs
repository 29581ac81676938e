//! Why the benchmark could not measure: the step, and what the system or the other side said.

use std::error::Error;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub(crate) struct Failure {
    step: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

/// What a step gives.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(step: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { step: step.into(), source: source.into() }
    }
}

/// Names the step in which an error came up.
pub(crate) trait During<T> {
    fn during(self, step: &str) -> Outcome<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Outcome<T> {
        self.map_err(|error| Failure::new(step, error))
    }
}
