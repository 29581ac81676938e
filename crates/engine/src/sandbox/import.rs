//! An operation: what is in the work folder is replaced by the content of an archive. The archive is as hostile as its
//! sender; its bytes pass through here, and nothing but the agent looks into them.

use std::io;

use protocol::{GuestPath, agent::FailureKind};
use tokio::time::timeout;

use super::operation::Operation;
use crate::{
    Archive, Error, ErrorKind, Result,
    agent::{
        AgentError,
        limit::{Limited, TooLarge},
        tree::{TreeWriteError, files_settle, tree_write},
        zstd,
    },
    archive::{ARCHIVE_TIME_MAX, tar_bytes_max},
    program::{WORK_FOLDER, sandbox_ended},
};

/// What an agent's refusal begins with.
const REFUSAL: &str = "refuse the archive: ";

impl Operation {
    /// Replaces the content of the work folder; when it fails the folder is as it was.
    pub(super) async fn import(&self, archive: Archive) -> Result<()> {
        let path = GuestPath::absolute(WORK_FOLDER).map_err(Error::internal)?;
        let disk_bytes = self.record.limits.disk_bytes;
        let packed = Limited::new(archive.into_reader(), disk_bytes);
        let tar = zstd::decompress(packed, tar_bytes_max(disk_bytes));
        let written = tree_write(self.connect().await?, path, Some(disk_bytes), true, tar);
        let refused = match timeout(ARCHIVE_TIME_MAX, written).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => refused(error, disk_bytes),
            Err(_) => {
                let minutes = ARCHIVE_TIME_MAX.as_secs() / 60;
                let text = format!("The archive was not unpacked within {minutes} minutes");
                Error::new(ErrorKind::TimedOut, text)
            }
        };
        // So that what follows does not see the half of it.
        if let Err(error) = files_settle(self.connect().await?).await {
            tracing::debug!(sandbox = %self.record.id, %error, "what is left of an archive was not waited for");
        }
        Err(refused)
    }
}

/// What an archive that was not unpacked means for the client.
fn refused(error: TreeWriteError, disk_bytes: u64) -> Error {
    let disk = || format!("the sandbox's disk limit is {} MB", disk_bytes >> 20);
    match error {
        TreeWriteError::Content(error) => match too_large(&error) {
            Some(TooLarge { bytes_max }) => {
                let text = format!("archive: it has more than {bytes_max} bytes; {}", disk());
                Error::new(ErrorKind::TooLarge, text)
            }
            None => {
                let text = "it is no zstd stream, damaged, incomplete, or needs a window of more than 8 MiB";
                Error::invalid("archive", text).caused_by(error)
            }
        },
        TreeWriteError::Agent(AgentError::Failed(failure)) => {
            let why = failure.message.strip_prefix(REFUSAL).unwrap_or(&failure.message);
            match failure.kind {
                FailureKind::LimitReached => {
                    Error::new(ErrorKind::TooLarge, format!("archive: {why}; {}", disk()))
                }
                FailureKind::DiskFull => {
                    let text = "The storage is full; delete snapshots or sandboxes, or give the server more";
                    Error::new(ErrorKind::Unavailable, text)
                }
                FailureKind::Invalid => Error::invalid("archive", why),
                _ => Error::new(ErrorKind::Refused, format!("archive: {why}")),
            }
        }
        TreeWriteError::Agent(error) => sandbox_ended(error),
    }
}

/// Whether it is because there was too much. A decoder passes on what its reader said.
fn too_large(error: &io::Error) -> Option<&TooLarge> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

#[cfg(test)]
mod tests {
    use protocol::agent::Failure;

    use super::*;

    fn kind(error: TreeWriteError) -> (ErrorKind, String) {
        let error = refused(error, 64 << 20);
        (error.kind(), error.public().to_owned())
    }

    fn failed(kind: FailureKind, message: &str) -> TreeWriteError {
        TreeWriteError::Agent(AgentError::Failed(Failure { kind, message: message.to_owned() }))
    }

    #[test]
    fn what_is_wrong_with_an_archive_is_told_and_of_which_entry() {
        let invalid = ErrorKind::Invalid { field: "archive" };
        let told = kind(failed(FailureKind::Invalid, "refuse the archive: ../x: it leads out"));
        assert_eq!(told, (invalid, "archive: ../x: it leads out".to_owned()));
        let over = kind(failed(FailureKind::LimitReached, "unpack big: Disk quota exceeded"));
        assert_eq!(over.0, ErrorKind::TooLarge);
        assert_eq!(over.1, "archive: unpack big: Disk quota exceeded; the sandbox's disk limit is 64 MB");
        assert_eq!(kind(failed(FailureKind::DiskFull, "unpack x: …")).0, ErrorKind::Unavailable);
        let more = io::Error::new(io::ErrorKind::FileTooLarge, TooLarge { bytes_max: 7 });
        assert_eq!(kind(TreeWriteError::Content(more)).0, ErrorKind::TooLarge);
        let broken = TreeWriteError::Content(io::Error::other("/host/path"));
        let (broken, text) = kind(broken);
        assert!(broken == invalid && !text.contains("/host/path"), "{text}");
        let gone = AgentError::Gone(io::ErrorKind::BrokenPipe.into());
        assert_eq!(kind(TreeWriteError::Agent(gone)).0, ErrorKind::SandboxEnded);
    }
}
