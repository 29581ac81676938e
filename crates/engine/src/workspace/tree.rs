//! Lists what is below a folder.

use protocol::{
    GuestPath, SandboxId,
    agent::{Event, Request},
    workspace::TreeEntry,
};

use super::{is_normal, list_of, unexpected};
use crate::{Caller, Engine, Result, agent::Incoming};

/// How much of a tree is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// At most so many entries.
    pub entries_max: usize,
    /// Which have at most so many bytes of paths together.
    pub bytes_max: usize,
}

/// What is below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceTree {
    /// Every folder before what is in it, those near the top first.
    pub entries: Vec<TreeEntry>,
    /// Whether that is all there is.
    pub is_whole: bool,
}

impl Engine {
    /// Lists what is below a folder of a sandbox that is kept up. No link is followed.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`]; with a [`crate::FileProblem`] when there is no such folder.
    pub async fn workspace_tree(
        &self,
        caller: &Caller,
        id: SandboxId,
        root: GuestPath,
        limits: TreeLimits,
    ) -> Result<WorkspaceTree> {
        let mut inside = self.inside(caller, id).await?;
        let TreeLimits { entries_max, bytes_max } = limits;
        let request =
            Request::WorkspaceTree { root, entries_max: entries_max as u64, bytes_max: bytes_max as u64 };
        inside.send(&request).await?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            match inside.next().await? {
                Incoming::Output(frame) => {
                    for entry in list_of::<TreeEntry>(&frame)? {
                        bytes += entry.path.len();
                        if entries.len() == entries_max || bytes > bytes_max {
                            return Ok(WorkspaceTree { entries, is_whole: false });
                        }
                        if is_normal(&entry.path) {
                            entries.push(entry);
                        }
                    }
                }
                Incoming::Event(Event::Listed { is_whole }) => {
                    return Ok(WorkspaceTree { entries, is_whole });
                }
                incoming => return Err(unexpected(incoming)),
            }
        }
    }
}
