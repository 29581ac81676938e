//! Network policies, as this dialect and as the engine has them.

use protocol::policy::{Action, NetworkPolicy, Rule, Target};

use super::super::{
    error::LifecycleError,
    types::{NetworkPolicyBody, NetworkRuleBody, PolicyStatusResponse},
};

/// How policies are enforced, in the words of the specification's examples.
const ENFORCEMENT: &str = "dns+nft";

/// The policy of a request. One that says nothing is none: then everything is allowed.
pub(super) fn policy(given: NetworkPolicyBody) -> Result<Option<NetworkPolicy>, LifecycleError> {
    let NetworkPolicyBody { default_action, egress } = given;
    if default_action.is_none() && egress.as_ref().is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let default = match &default_action {
        None => Action::Deny,
        Some(word) => action("networkPolicy.defaultAction", word)?,
    };
    let rules = rules("networkPolicy.egress", egress.unwrap_or_default())?;
    let policy = NetworkPolicy::new(default, rules);
    policy.map(Some).map_err(|error| LifecycleError::invalid("networkPolicy", error))
}

/// The same, where there is to be a policy.
pub(in super::super) fn policy_or_open(given: NetworkPolicyBody) -> Result<NetworkPolicy, LifecycleError> {
    Ok(policy(given)?.unwrap_or_else(|| NetworkPolicy::of_default(Action::Allow)))
}

/// The rules of a change.
pub(in super::super) fn policy_rules(given: Vec<NetworkRuleBody>) -> Result<Vec<Rule>, LifecycleError> {
    if given.is_empty() {
        return Err(LifecycleError::invalid("body", "has no rules"));
    }
    rules("body", given)
}

/// Targets whose rules are to go.
pub(in super::super) fn policy_targets(given: &[String]) -> Result<Vec<Target>, LifecycleError> {
    if given.is_empty() {
        return Err(LifecycleError::invalid("body", "has no targets"));
    }
    given.iter().enumerate().map(|(at, text)| target(&format!("body[{at}]"), text)).collect()
}

/// A policy in an answer.
pub(in super::super) fn policy_body(policy: &NetworkPolicy) -> PolicyStatusResponse {
    let word = |action| match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    let rule = |rule: &Rule| NetworkRuleBody {
        action: word(rule.action).to_owned(),
        target: rule.target.to_string(),
    };
    PolicyStatusResponse {
        status: "ok",
        mode: match policy.default_action() {
            Action::Allow => "allow_all",
            Action::Deny => "deny_all",
        },
        enforcement_mode: ENFORCEMENT,
        policy: NetworkPolicyBody {
            default_action: Some(word(policy.default_action()).to_owned()),
            egress: Some(policy.rules().iter().map(rule).collect()),
        },
    }
}

fn rules(field: &str, given: Vec<NetworkRuleBody>) -> Result<Vec<Rule>, LifecycleError> {
    let rule = |(at, NetworkRuleBody { action: word, target: text }): (usize, NetworkRuleBody)| {
        let field = format!("{field}[{at}]");
        let action = action(&format!("{field}.action"), &word)?;
        Ok(Rule { action, target: target(&format!("{field}.target"), &text)? })
    };
    given.into_iter().enumerate().map(rule).collect()
}

fn action(field: &str, word: &str) -> Result<Action, LifecycleError> {
    match word {
        "allow" => Ok(Action::Allow),
        "deny" => Ok(Action::Deny),
        other => Err(LifecycleError::invalid(field, format!("is \"allow\" or \"deny\", not {other:?}"))),
    }
}

fn target(field: &str, text: &str) -> Result<Target, LifecycleError> {
    text.parse().map_err(|error| LifecycleError::invalid(field, error))
}
