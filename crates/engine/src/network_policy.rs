//! Whom a sandbox may reach: looking at its network policy, and changing it while it runs.

use protocol::{
    SandboxId,
    launcher::NetworkMode,
    policy::{Action, InvalidPolicy, NetworkPolicy, Rule, Target},
};

use crate::{
    Caller, Engine, Error, ErrorKind, Result, Sandbox,
    sandbox::{Command, PolicyChange},
};

impl Sandbox {
    /// Whom it may reach: nobody without a network, and without a policy whoever is not closed to all sandboxes.
    #[must_use]
    pub fn network_policy_in_force(&self) -> NetworkPolicy {
        match (self.network, &self.network_policy) {
            (NetworkMode::None, _) => NetworkPolicy::of_default(Action::Deny),
            (NetworkMode::Nat, Some(policy)) => policy.clone(),
            (NetworkMode::Nat, None) => NetworkPolicy::of_default(Action::Allow),
        }
    }
}

impl Engine {
    /// A sandbox's network policy.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn network_policy_get(&self, caller: &Caller, id: SandboxId) -> Result<NetworkPolicy> {
        Ok(self.sandbox_get(caller, id).await?.network_policy_in_force())
    }

    /// Puts a policy in the place of the one that a sandbox has. It is in force when this returns, also for what is
    /// open.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when the sandbox has no network; [`ErrorKind::Unavailable`]
    /// when the host has no policies.
    pub async fn network_policy_replace(
        &self,
        caller: &Caller,
        id: SandboxId,
        policy: NetworkPolicy,
    ) -> Result<NetworkPolicy> {
        self.network_policy_change(caller, id, PolicyChange::Replace(policy)).await
    }

    /// Puts rules in front of those that a sandbox has, and in the place of those with the same targets.
    ///
    /// # Errors
    /// Those of [`Self::network_policy_replace`]; [`ErrorKind::Invalid`] when there are too many then.
    pub async fn network_policy_patch(
        &self,
        caller: &Caller,
        id: SandboxId,
        rules: Vec<Rule>,
    ) -> Result<NetworkPolicy> {
        self.network_policy_change(caller, id, PolicyChange::Patch(rules)).await
    }

    /// Takes away the rules that are about these targets, if there are any.
    ///
    /// # Errors
    /// Those of [`Self::network_policy_replace`].
    pub async fn network_policy_rules_remove(
        &self,
        caller: &Caller,
        id: SandboxId,
        targets: Vec<Target>,
    ) -> Result<NetworkPolicy> {
        self.network_policy_change(caller, id, PolicyChange::Remove(targets)).await
    }

    async fn network_policy_change(
        &self,
        caller: &Caller,
        id: SandboxId,
        change: PolicyChange,
    ) -> Result<NetworkPolicy> {
        let by = caller.owner.clone();
        self.handle(caller, id)?.ask(id, |reply| Command::NetworkPolicyChange { change, by, reply }).await?
    }
}

impl PolicyChange {
    /// The policy that it makes of another.
    pub(crate) fn of(self, policy: &NetworkPolicy) -> std::result::Result<NetworkPolicy, InvalidPolicy> {
        match self {
            Self::Replace(policy) => Ok(policy),
            Self::Patch(rules) => policy.patched(rules),
            Self::Remove(targets) => Ok(policy.without(&targets)),
        }
    }
}

/// A policy for a sandbox that can have none.
pub(crate) fn no_network() -> Error {
    let text = "The sandbox has no network, and so reaches nobody; a network policy needs one (nat)";
    Error::new(ErrorKind::Conflict, text)
}
