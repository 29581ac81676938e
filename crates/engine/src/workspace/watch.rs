//! Changes of files below a folder, as they happen.

use protocol::{
    GuestPath, SandboxId,
    agent::Request,
    workspace::{Change, ChangeKind},
};

use super::{Inside, is_normal, list_of, refused, unexpected};
use crate::{Caller, Engine, Result, agent::Incoming};

/// Watches a folder until it is dropped.
#[derive(Debug)]
pub struct Watch {
    inside: Inside,
}

impl Engine {
    /// Watches everything below a folder of a sandbox that is kept up. Whatever changes after this has returned is
    /// told.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`]; with a [`crate::FileProblem`] when there is no such folder, or no more can be
    /// watched.
    pub async fn watch_open(&self, caller: &Caller, id: SandboxId, root: GuestPath) -> Result<Watch> {
        let mut inside = self.inside(caller, id).await?;
        inside.done(&Request::Watch { root }).await?;
        Ok(Watch { inside })
    }
}

impl Watch {
    /// Waits for changes and returns those of some 50 ms. Nothing is lost if that is given up; while nobody waits, what
    /// does not fit into the agent's bounds becomes one [`ChangeKind::Everything`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::SandboxEnded`]; with a [`crate::FileProblem`] when the folder is gone.
    pub async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            let frame = match self.inside.connection.next().await.map_err(refused)? {
                Incoming::Output(frame) => frame,
                incoming => return Err(unexpected(incoming)),
            };
            let mut changes = list_of::<Change>(&frame)?;
            changes.retain(is_sound);
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}

/// Whether its paths are below the folder.
fn is_sound(change: &Change) -> bool {
    let is_place = change.path.is_empty() || is_normal(&change.path);
    match &change.kind {
        ChangeKind::Moved { from } => is_place && is_normal(from),
        ChangeKind::Created | ChangeKind::Changed | ChangeKind::Deleted => is_place,
        ChangeKind::Everything => change.path.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_from_an_agent_are_below_the_folder_or_left_out() {
        let sound = |path: &[u8], kind| is_sound(&Change { path: path.to_vec(), is_folder: false, kind });
        for path in [&b"a"[..], b"a/b", b"\xff\n", b""] {
            assert!(sound(path, ChangeKind::Changed), "{path:?}");
        }
        assert!(sound(b"a", ChangeKind::Moved { from: b"b".to_vec() }) && sound(b"", ChangeKind::Everything));
        for path in [&b"/a"[..], b"../a", b"a/../b", b"a//b", b"./a", b"a/", b"a\0"] {
            for kind in
                [ChangeKind::Created, ChangeKind::Moved { from: b"b".to_vec() }, ChangeKind::Everything]
            {
                assert!(!sound(path, kind), "{path:?}");
            }
            assert!(!sound(b"a", ChangeKind::Moved { from: path.to_vec() }), "{path:?}");
        }
    }
}
