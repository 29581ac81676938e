//! A sandbox's processes.

use protocol::{
    SandboxId,
    agent::{Event, Request},
    workspace::ProcessInfo,
};

use super::{list_of, unexpected};
use crate::{Caller, Engine, Result, agent::Incoming};

impl Engine {
    /// The processes of a sandbox that is kept up, but its agent, by their numbers.
    ///
    /// # Errors
    /// Those of [`Self::exec_run`].
    pub async fn process_list(&self, caller: &Caller, id: SandboxId) -> Result<Vec<ProcessInfo>> {
        let mut inside = self.inside(caller, id).await?;
        inside.send(&Request::ProcessList).await?;
        let most = inside.sandbox.limits.pids as usize;
        let mut processes = Vec::new();
        loop {
            match inside.next().await? {
                Incoming::Output(frame) => {
                    let left = most.saturating_sub(processes.len());
                    processes.extend(list_of::<ProcessInfo>(&frame)?.into_iter().take(left));
                }
                Incoming::Event(Event::Done) => {
                    processes.sort_unstable_by_key(|process| process.pid);
                    return Ok(processes);
                }
                incoming => return Err(unexpected(incoming)),
            }
        }
    }
}
