//! The engine's errors: what kind, a text for the client, and the cause for the log.
//!
//! The public text is written here or by the operation, never built from the cause: a cause may hold host
//! paths and other people's names. Status codes and body shapes belong to the dialects.

use std::fmt;

use crate::VolumeProblem;

/// What a client can do about an error. Dialects map each to their own status and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong; `field` names the part.
    Invalid {
        /// The engine's name of the field: `memory`, `timeout`, `files[2].path`.
        field: &'static str,
    },
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// It exists already, or is in a state that does not allow this.
    Conflict,
    /// Larger than configured.
    TooLarge,
    /// A configured maximum is reached; try again after the given time.
    Busy {
        /// Seconds until it is worth trying again.
        retry_after_s: u32,
    },
    /// Something this needs is missing on the host; the text says what and how to get it.
    Unavailable,
    /// The sandbox could not be launched.
    LaunchFailed,
    /// The sandbox ended while the request ran.
    SandboxEnded,
    /// It took longer than allowed.
    TimedOut,
    /// The agent refused: a file error inside the sandbox, a port without a listener.
    Refused,
    /// A defect or a broken host. The client gets a request id, the log the cause.
    Internal,
}

/// An error of an engine operation.
pub struct Error {
    kind: ErrorKind,
    public: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    volume: Option<VolumeProblem>,
    file: Option<FileProblem>,
}

/// What is wrong with a file, a folder or a program of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileProblem {
    /// It is not there.
    NotFound,
    /// It is a folder, and should be a file.
    Folder,
    /// It is a file, and should be a folder; or it is a pipe or the like, and should be a file.
    WrongType,
    /// It leads out of its folder: absolute, by `..`, or by a link.
    Outside,
    /// Its name is no name, or too long.
    Invalid,
    /// The sandbox's user may not do that.
    Denied,
    /// The sandbox's disk or its number of processes is used up.
    NoRoom,
    /// It is larger than was asked for.
    TooLarge,
}

/// A result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a text for the client.
    pub fn new(kind: ErrorKind, public: impl Into<String>) -> Self {
        Self { kind, public: public.into(), source: None, volume: None, file: None }
    }

    /// The same with the cause, for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A wrong field of the request. The text starts with the field's name.
    pub fn invalid(field: &'static str, problem: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid { field }, format!("{field}: {problem}"))
    }

    /// A volume that can't be had as it is asked for.
    pub fn volume(problem: VolumeProblem, public: impl Into<String>) -> Self {
        Self { volume: Some(problem), ..Self::new(ErrorKind::Invalid { field: "volumes" }, public) }
    }

    /// What is wrong with a volume, if that is it.
    #[must_use]
    pub fn volume_problem(&self) -> Option<VolumeProblem> {
        self.volume
    }

    /// What a sandbox's own files do not allow.
    pub fn file(problem: FileProblem, public: impl Into<String>) -> Self {
        let kind = match problem {
            FileProblem::NotFound => ErrorKind::NotFound,
            FileProblem::TooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Refused,
        };
        Self { file: Some(problem), ..Self::new(kind, public) }
    }

    /// What is wrong with a file, if that is it: so a file that is not there differs from a sandbox that is not.
    #[must_use]
    pub fn file_problem(&self) -> Option<FileProblem> {
        self.file
    }

    /// An unknown sandbox.
    #[must_use]
    pub fn sandbox_not_found(id: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("Sandbox {id} not found"))
    }

    /// An unknown snapshot.
    #[must_use]
    pub fn snapshot_not_found() -> Self {
        Self::new(ErrorKind::NotFound, "Snapshot not found")
    }

    /// A sandbox has `most` snapshots, and may not have more.
    #[must_use]
    pub fn snapshots_full(most: usize) -> Self {
        let text = format!("Too many snapshots (at most {most} of a sandbox); restore an older one");
        Self::new(ErrorKind::Busy { retry_after_s: 60 }, text)
    }

    /// A defect or a broken host; the client learns nothing but that.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, "Internal error").caused_by(source)
    }

    /// What the client can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text for the client.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.public)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.public)?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(out, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
