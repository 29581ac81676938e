//! Whom a sandbox may reach: rules about names and addresses, in order.
//!
//! The first rule that matches decides; where none does, the policy's default. Pure values: it must not know how
//! names are resolved or packets are dropped.

mod target;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

pub use self::target::{InvalidTarget, Network, Target};

/// Rules of one policy.
pub const RULES_MAX: usize = 512;
/// Bytes that the targets of one policy may have together: a policy fits into a datagram.
pub const TARGETS_BYTES_MAX: usize = 32 << 10;

/// What becomes of a connection, or of a question for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is let through.
    Allow,
    /// It is refused.
    Deny,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// With what.
    pub target: Target,
}

/// Whom a sandbox may reach. What is closed to every sandbox stays closed whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct NetworkPolicy {
    default_action: Action,
    rules: Vec<Rule>,
}

/// What came from somewhere else.
#[derive(Deserialize)]
struct Unchecked {
    default_action: Action,
    rules: Vec<Rule>,
}

impl TryFrom<Unchecked> for NetworkPolicy {
    type Error = InvalidPolicy;

    fn try_from(Unchecked { default_action, rules }: Unchecked) -> Result<Self, InvalidPolicy> {
        Self::new(default_action, rules)
    }
}

/// Why a policy is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// It has too many rules.
    #[error("{0} rules are more than {RULES_MAX}")]
    TooManyRules(usize),
    /// Its targets are too long together.
    #[error("the targets have more than {TARGETS_BYTES_MAX} bytes together")]
    TooLong,
    /// A rule allows what no sandbox has.
    #[error("rule {0} allows an IPv6 address, and sandboxes have no IPv6")]
    NoIpv6(usize),
}

/// What a policy says of something, and how early: the lower rank was first in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it says.
    pub action: Action,
    /// The rule's place; the number of rules for the default.
    pub rank: usize,
}

impl NetworkPolicy {
    /// A policy of these rules.
    ///
    /// # Errors
    /// [`InvalidPolicy`].
    pub fn new(default_action: Action, rules: Vec<Rule>) -> Result<Self, InvalidPolicy> {
        if rules.len() > RULES_MAX {
            return Err(InvalidPolicy::TooManyRules(rules.len()));
        }
        if rules.iter().map(|rule| rule.target.to_string().len()).sum::<usize>() > TARGETS_BYTES_MAX {
            return Err(InvalidPolicy::TooLong);
        }
        let is_idle = |rule: &Rule| match rule.target {
            Target::Network(network) => rule.action == Action::Allow && network.address().is_ipv6(),
            _ => false,
        };
        match rules.iter().position(is_idle) {
            Some(rule) => Err(InvalidPolicy::NoIpv6(rule)),
            None => Ok(Self { default_action, rules }),
        }
    }

    /// One without rules.
    #[must_use]
    pub fn of_default(default_action: Action) -> Self {
        Self { default_action, rules: Vec::new() }
    }

    /// What is done with what no rule matches.
    #[must_use]
    pub fn default_action(&self) -> Action {
        self.default_action
    }

    /// The rules, the one that is looked at first in front.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What it says of a name, which may end with a dot.
    #[must_use]
    pub fn of_name(&self, name: &str) -> Decision {
        self.first(|target| target.matches_name(name))
    }

    /// What it says of an address that has `names`, as far as they were resolved.
    #[must_use]
    pub fn of_address<'n>(&self, address: Ipv4Addr, names: impl Iterator<Item = &'n str>) -> Decision {
        let by_number = self.first(|target| target.matches_address(address.into()));
        names
            .map(|name| self.of_name(name))
            .fold(by_number, |best, other| if other.rank < best.rank { other } else { best })
    }

    fn first(&self, matches: impl Fn(&Target) -> bool) -> Decision {
        let found = self.rules.iter().enumerate().find(|(_, rule)| matches(&rule.target));
        let default = Decision { action: self.default_action, rank: self.rules.len() };
        found.map_or(default, |(rank, rule)| Decision { action: rule.action, rank })
    }

    /// The names, without wildcards, that are denied.
    pub fn denied_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| match &rule.target {
            Target::Name(name) if self.of_name(name).action == Action::Deny => Some(name.as_str()),
            _ => None,
        })
    }

    /// The rules about IPv4 addresses, in order.
    pub fn networks(&self) -> impl Iterator<Item = (Action, Ipv4Addr, u8)> {
        self.rules.iter().filter_map(|rule| match rule.target {
            Target::Network(network) => match network.address() {
                IpAddr::V4(address) => Some((rule.action, address, network.length())),
                IpAddr::V6(_) => None,
            },
            _ => None,
        })
    }

    /// The policy with more rules: those come first, and take the place of older ones with the same target. Of several
    /// with the same target the first counts.
    ///
    /// # Errors
    /// [`InvalidPolicy`].
    pub fn patched(&self, rules: Vec<Rule>) -> Result<Self, InvalidPolicy> {
        let mut merged: Vec<Rule> = Vec::with_capacity(rules.len() + self.rules.len());
        for rule in rules.into_iter().chain(self.rules.iter().cloned()) {
            if merged.iter().all(|earlier| earlier.target != rule.target) {
                merged.push(rule);
            }
        }
        Self::new(self.default_action, merged)
    }

    /// The policy without the rules about these targets.
    #[must_use]
    pub fn without(&self, targets: &[Target]) -> Self {
        let kept = self.rules.iter().filter(|rule| !targets.contains(&rule.target)).cloned();
        Self { default_action: self.default_action, rules: kept.collect() }
    }
}

#[cfg(test)]
mod tests;
