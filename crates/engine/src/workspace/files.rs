//! Files below a folder: nothing leads out of it, which the agent sees to.

use protocol::{
    GuestPath, SandboxId,
    agent::{Event, Request},
    frame::{self, Kind, STREAM_BYTES},
};

use super::{Inside, patiently, unexpected};
use crate::{
    Caller, Engine, Error, FileProblem, Result, agent::Incoming, program::sandbox_ended,
    sandbox::AGENT_PATIENCE,
};

/// A file that is being written. It has its new content when this is finished; dropped before, it is as it was.
#[derive(Debug)]
pub struct FileWriting {
    inside: Inside,
}

impl Engine {
    /// Reads a file below a folder of a sandbox that is kept up. `path` is relative to the folder; links are followed
    /// that stay below it.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`], and with a [`FileProblem`] when there is no such file, or it has more than
    /// `bytes_max` bytes.
    pub async fn workspace_read(
        &self,
        caller: &Caller,
        id: SandboxId,
        root: GuestPath,
        path: &[u8],
        bytes_max: usize,
    ) -> Result<Vec<u8>> {
        let mut inside = self.inside(caller, id).await?;
        let request = Request::WorkspaceRead { root, path: path.to_vec(), bytes_max: bytes_max as u64 };
        inside.send(&request).await?;
        let mut content = Vec::new();
        loop {
            match inside.next().await? {
                // What an agent says of a size is not worth room.
                Incoming::Event(Event::FileOpened { .. }) => {}
                Incoming::Output(bytes) => {
                    if bytes.len() > bytes_max - content.len() {
                        let text = format!("The file has more than {bytes_max} bytes");
                        return Err(Error::file(FileProblem::TooLarge, text));
                    }
                    content.extend_from_slice(&bytes);
                }
                Incoming::Event(Event::Done) => return Ok(content),
                incoming => return Err(unexpected(incoming)),
            }
        }
    }

    /// Writes a file below a folder of a sandbox that is kept up, the folders above it made as needed: whole or not at
    /// all. One that exists keeps its mode and owner.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`], and with a [`FileProblem`].
    pub async fn workspace_write(
        &self,
        caller: &Caller,
        id: SandboxId,
        root: GuestPath,
        path: &[u8],
        content: &[u8],
    ) -> Result<()> {
        let mut writing = self.workspace_write_begin(caller, id, root, path).await?;
        writing.push(content).await?;
        writing.finish().await
    }

    /// Begins to write a file in pieces, as [`Self::workspace_write`] does.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`]. What is wrong with the file shows at the end.
    pub async fn workspace_write_begin(
        &self,
        caller: &Caller,
        id: SandboxId,
        root: GuestPath,
        path: &[u8],
    ) -> Result<FileWriting> {
        let mut inside = self.inside(caller, id).await?;
        inside.send(&Request::WorkspaceWrite { root, path: path.to_vec() }).await?;
        Ok(FileWriting { inside })
    }

    /// Removes a file, a link, or a folder with all below it.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`], and with a [`FileProblem`]: [`FileProblem::NotFound`] when there is none.
    pub async fn workspace_remove(
        &self,
        caller: &Caller,
        id: SandboxId,
        root: GuestPath,
        path: &[u8],
    ) -> Result<()> {
        let mut inside = self.inside(caller, id).await?;
        inside.done(&Request::WorkspaceRemove { root, path: path.to_vec() }).await
    }
}

impl FileWriting {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`crate::ErrorKind::SandboxEnded`], [`crate::ErrorKind::TimedOut`].
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let (_, mut sending) = self.inside.connection.split();
        for piece in bytes.chunks(STREAM_BYTES) {
            let frame = frame::encode(Kind::Input, piece).map_err(|error| sandbox_ended(error.into()))?;
            patiently(AGENT_PATIENCE, sending.send(&frame)).await?;
        }
        Ok(())
    }

    /// Gives the file what was pushed as its content.
    ///
    /// # Errors
    /// With a [`FileProblem`]; [`crate::ErrorKind::SandboxEnded`], [`crate::ErrorKind::TimedOut`]. Then it is as it
    /// was.
    pub async fn finish(mut self) -> Result<()> {
        let end = frame::encode(Kind::InputEnd, &[]).map_err(|error| sandbox_ended(error.into()))?;
        patiently(AGENT_PATIENCE, self.inside.connection.send(&end)).await?;
        match self.inside.next().await? {
            Incoming::Event(Event::Done) => Ok(()),
            incoming => Err(unexpected(incoming)),
        }
    }
}
