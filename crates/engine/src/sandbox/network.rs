//! The task's part in network policies: what is on record is in force.

use protocol::{
    launcher::{LaunchSpec, NetworkMode},
    policy::NetworkPolicy,
};
use tokio::sync::watch;

use super::{handle::PolicyChange, task::State};
use crate::{Error, Result, Runtime, RuntimeError, Sandbox, network_policy::no_network};

/// The error number of "no such process", as in errno(3): the sandbox does not run.
const ESRCH: i32 = 3;

impl State {
    /// Changes the policy, also while something else goes on with the sandbox.
    pub(super) async fn network_policy_change(
        &mut self,
        change: PolicyChange,
        by: &str,
    ) -> Result<NetworkPolicy> {
        if self.task.record.network == NetworkMode::None {
            return Err(no_network());
        }
        let before = self.task.record.network_policy.clone();
        let policy = change
            .of(&self.view.borrow().network_policy_in_force())
            .map_err(|error| Error::invalid("network_policy", error))?;
        // On record before it is in force: a launch that is under way finds it there.
        self.task.record.network_policy = Some(policy.clone());
        let written = match self.record_write(Some("network_policy_changed"), by).await {
            Ok(()) => self.network_policy_enforce().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.task.record.network_policy = before;
            if let Err(error) = self.record_write(None, by).await {
                tracing::error!(sandbox = %self.task.record.id, ?error, "a network policy that failed stays on record");
            }
            return Err(error);
        }
        Ok(policy)
    }

    /// Puts the policy on record in force, if there is one and the sandbox runs.
    pub(super) async fn network_policy_enforce(&self) -> Result<()> {
        let record = &self.task.record;
        let Some(policy) = record.network_policy.clone() else { return Ok(()) };
        let set = self.task.engine.runtime.network_policy_set(record.id, policy).await;
        unless_it_runs_not(set).map_err(Error::internal)
    }
}

/// Launches a sandbox with the policy that it has, also where that changes meanwhile.
pub(super) async fn launch(
    runtime: &dyn Runtime,
    spec: LaunchSpec,
    view: &watch::Receiver<Sandbox>,
) -> std::result::Result<(), RuntimeError> {
    let sandbox = spec.sandbox;
    let begun = view.borrow().network_policy.clone();
    runtime.launch(LaunchSpec { network_policy: begun.clone(), ..spec }).await?;
    let now = view.borrow().network_policy.clone();
    match now {
        Some(policy) if begun.as_ref() != Some(&policy) => {
            unless_it_runs_not(runtime.network_policy_set(sandbox, policy).await)
        }
        _ => Ok(()),
    }
}

fn unless_it_runs_not(set: std::result::Result<(), RuntimeError>) -> std::result::Result<(), RuntimeError> {
    match set {
        Err(RuntimeError::Step { errno: ESRCH, .. }) => Ok(()),
        set => set,
    }
}
