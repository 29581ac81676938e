//! Lists what is below a folder.

use protocol::{
    GuestPath, SandboxId,
    agent::{Event, Request},
    workspace::TreeEntry,
};

use super::{is_normal, list_of, next, send, unexpected};
use crate::{
    Caller, Engine, Result,
    agent::{Connection, Incoming},
};

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
        tree(&mut inside.connection, root, limits).await
    }
}

async fn tree(connection: &mut Connection, root: GuestPath, limits: TreeLimits) -> Result<WorkspaceTree> {
    let TreeLimits { entries_max, bytes_max } = limits;
    let request =
        Request::WorkspaceTree { root, entries_max: entries_max as u64, bytes_max: bytes_max as u64 };
    send(connection, &request).await?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    loop {
        match next(connection).await? {
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
            Incoming::Event(Event::Listed { is_whole }) => return Ok(WorkspaceTree { entries, is_whole }),
            incoming => return Err(unexpected(incoming)),
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{
        frame::{self, Kind},
        workspace::EntryKind,
    };
    use tokio::{io::AsyncWriteExt, net::UnixStream};

    use super::*;

    fn entry(path: &[u8]) -> TreeEntry {
        TreeEntry { path: path.to_vec(), kind: EntryKind::Folder }
    }

    /// What is made of what an agent sends, which then closes.
    async fn listed(entries: &[TreeEntry], last: Option<Event>, entries_max: usize) -> Result<WorkspaceTree> {
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let payload = frame::encode_payload(&entries).unwrap();
        agent.write_all(&frame::encode(Kind::Output, &payload).unwrap()).await.unwrap();
        if let Some(event) = last {
            agent.write_all(&frame::encode_message(&event).unwrap()).await.unwrap();
        }
        agent.shutdown().await.unwrap();
        let root = GuestPath::absolute("/sandbox").unwrap();
        let limits = TreeLimits { entries_max, bytes_max: 100 };
        tree(&mut Connection::new(ours), root, limits).await
    }

    #[tokio::test]
    async fn paths_from_an_agent_are_below_the_folder_or_left_out() {
        let told = [&b"a"[..], b"/etc", b"../x", b"a/../../x", b"", b"a/b", b"a//c", b"\xff"].map(entry);
        let tree = listed(&told, Some(Event::Listed { is_whole: true }), 100).await.unwrap();
        let good = [&b"a"[..], b"a/b", b"\xff"].map(entry).to_vec();
        assert_eq!(tree, WorkspaceTree { entries: good, is_whole: true });
    }

    #[tokio::test]
    async fn an_agent_that_sends_more_than_it_was_asked_for_is_cut_off() {
        let told: Vec<TreeEntry> = (0..50).map(|number: u8| entry(&[b'a' + number % 26])).collect();
        // It says nothing any more, and is not waited for.
        let tree = listed(&told, None, 3).await.unwrap();
        assert_eq!((tree.entries.len(), tree.is_whole), (3, false));
        let long = [entry(&[b'x'; 60]), entry(&[b'y'; 60])];
        let tree = listed(&long, None, 3).await.unwrap();
        assert_eq!((tree.entries.len(), tree.is_whole), (1, false));
        let broken = listed(&[], None, 3).await.unwrap_err();
        assert_eq!(broken.kind(), crate::ErrorKind::SandboxEnded);
    }
}
