//! What failed: a step, in words, and the kernel's error number.

use protocol::{launcher::Failure, volume::VolumeFault};
use rustix::io::Errno;

/// A step of a launch, or of its undoing, that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct StepError {
    /// What was done, on what: `mount overlay on /usr`.
    pub step: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// The volume that is the reason, if one is.
    pub volume: Option<VolumeFault>,
}

impl StepError {
    pub(crate) fn new(step: impl Into<String>, errno: Errno) -> Self {
        Self { step: step.into(), errno, volume: None }
    }

    pub(crate) fn about(self, volume: VolumeFault) -> Self {
        Self { volume: Some(volume), ..self }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        let errno = Errno::from_raw_os_error(failure.errno.clamp(1, 4095));
        Self { step: failure.step, errno, volume: failure.volume }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self { step: error.step, errno: error.errno.raw_os_error(), volume: error.volume }
    }
}

/// Names the step that a result belongs to. The words are only put together for a failure.
pub(crate) trait Step<T> {
    fn step(self, words: impl FnOnce() -> String) -> Result<T, StepError>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, words: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|errno| StepError::new(words(), errno))
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, words: impl FnOnce() -> String) -> Result<T, StepError> {
        self.map_err(|error| StepError::new(words(), Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}
