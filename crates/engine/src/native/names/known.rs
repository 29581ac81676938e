//! Which addresses names have had of late, as far as a sandbox's policy is about them. Pure.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use protocol::{
    launcher::{ADDRESSES_KNOWN_MAX, KnownAddress},
    policy::NetworkPolicy,
};

/// An address is known at least, and at most, for so long after an answer that has it, and for a moment beyond: a
/// connection that is about to be opened is not to come too late.
const SHORTEST: u32 = 60;
pub(super) const LONGEST: u32 = 3600;
const MOMENT: u32 = 30;

/// Names of one address; what many share says little about any.
const NAMES_MAX: usize = 64;

/// What is known for one sandbox.
#[derive(Default)]
pub(super) struct Known(HashMap<Ipv4Addr, Vec<(String, Instant)>>);

impl Known {
    /// Notes that a name has addresses, each with its time to live. Returns what `policy` says of them, but for those
    /// that no rule is about.
    pub(super) fn learn(
        &mut self,
        policy: &NetworkPolicy,
        name: &str,
        addresses: &[(Ipv4Addr, u32)],
        now: Instant,
    ) -> Vec<KnownAddress> {
        let mut verdicts = Vec::with_capacity(addresses.len());
        for (address, ttl) in addresses {
            let seconds = (*ttl).clamp(SHORTEST, LONGEST) + MOMENT;
            self.note(*address, name, now + Duration::from_secs(seconds.into()), now);
            verdicts.extend(self.verdict(policy, *address, seconds, now));
        }
        verdicts
    }

    /// What another policy says of all that is known.
    pub(super) fn under(&self, policy: &NetworkPolicy, now: Instant) -> Vec<KnownAddress> {
        let left = |names: &[(String, Instant)]| {
            let until = names.iter().map(|(_, until)| *until).max()?;
            u32::try_from(until.checked_duration_since(now)?.as_secs()).ok().filter(|left| *left > 0)
        };
        let all = self.0.iter().filter_map(|(address, names)| Some((*address, left(names)?)));
        all.filter_map(|(address, seconds)| self.verdict(policy, address, seconds, now)).collect()
    }

    fn verdict(
        &self,
        policy: &NetworkPolicy,
        address: Ipv4Addr,
        seconds: u32,
        now: Instant,
    ) -> Option<KnownAddress> {
        let names = self.0.get(&address).map_or(&[] as &[_], Vec::as_slice);
        let names = names.iter().filter(|(_, until)| *until > now).map(|(name, _)| name.as_str());
        let decision = policy.of_address(address, names);
        let by_rule = decision.rank < policy.rules().len();
        by_rule.then_some(KnownAddress { address, action: decision.action, seconds })
    }

    fn note(&mut self, address: Ipv4Addr, name: &str, until: Instant, now: Instant) {
        if self.0.len() >= ADDRESSES_KNOWN_MAX && !self.0.contains_key(&address) {
            self.0.retain(|_, names| names.iter().any(|(_, until)| *until > now));
            let first = self.0.iter().min_by_key(|(_, names)| names.iter().map(|(_, until)| *until).max());
            if let Some(first) = first.map(|(address, _)| *address)
                && self.0.len() >= ADDRESSES_KNOWN_MAX
            {
                self.0.remove(&first);
            }
        }
        let names = self.0.entry(address).or_default();
        names.retain(|(other, until)| *until > now && other != name);
        if names.len() >= NAMES_MAX {
            names.remove(0);
        }
        names.push((name.to_owned(), until));
    }
}

#[cfg(test)]
mod tests {
    use protocol::policy::{Action, Rule};

    use super::*;

    fn policy(default: Action, rules: &[(Action, &str)]) -> NetworkPolicy {
        let rule = |(action, text): &(Action, &str)| Rule { action: *action, target: text.parse().unwrap() };
        NetworkPolicy::new(default, rules.iter().map(rule).collect()).unwrap()
    }

    const ONE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    #[test]
    fn an_address_is_as_the_first_rule_about_one_of_its_names_says() {
        let now = Instant::now();
        let mut known = Known::default();
        let policy = policy(Action::Allow, &[(Action::Allow, "a.test"), (Action::Deny, "b.test")]);
        let verdict = |known: Vec<KnownAddress>| known.first().map(|known| (known.action, known.seconds));
        assert_eq!(verdict(known.learn(&policy, "c.test", &[(ONE, 5)], now)), None);
        assert_eq!(verdict(known.learn(&policy, "b.test", &[(ONE, 5)], now)), Some((Action::Deny, 90)));
        assert_eq!(
            verdict(known.learn(&policy, "a.test", &[(ONE, 99999)], now)),
            Some((Action::Allow, 3630))
        );
        let later = now + Duration::from_secs(3000);
        assert_eq!(verdict(known.under(&policy, later)), Some((Action::Allow, 630)));
        assert_eq!(verdict(known.under(&policy, now + Duration::from_secs(3630))), None);
    }

    #[test]
    fn another_policy_sees_what_is_known() {
        let now = Instant::now();
        let mut known = Known::default();
        let before = policy(Action::Deny, &[(Action::Allow, "*.test")]);
        known.learn(&before, "a.test", &[(ONE, 100)], now);
        let after = policy(Action::Deny, &[(Action::Allow, "b.test")]);
        assert_eq!(known.under(&after, now), []);
        assert_eq!(known.under(&before, now).len(), 1);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let now = Instant::now();
        let mut known = Known::default();
        let policy = policy(Action::Deny, &[(Action::Allow, "*.test")]);
        for number in 0..3000_u32 {
            known.learn(&policy, "a.test", &[(Ipv4Addr::from(number << 8), 100 + number)], now);
            known.learn(&policy, &format!("n{number}.test"), &[(ONE, 3600)], now);
        }
        assert_eq!(known.under(&policy, now).len(), ADDRESSES_KNOWN_MAX);
        assert_eq!(known.0[&ONE].len(), NAMES_MAX);
    }
}
