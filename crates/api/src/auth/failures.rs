//! Wrong keys, counted by the address they come from, so that somebody who tries keys gets nothing for it: no
//! lines in a log, no work done.
//!
//! A right key passes whatever came from its address before. The limit does not keep anybody from guessing,
//! 2^192 keys do; and behind a proxy all clients have one address: one of them must not be able to shut the
//! others out.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

/// Wrong keys from one address that are answered as such within [`WINDOW`].
const FAILURES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are counted apart. Further ones share one count.
const GROUPS_MAX: usize = 4096;

/// Whose failures are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    V4(Ipv4Addr),
    /// The first 64 bits: whoever has one IPv6 address has all that begin so.
    V6(u64),
    Rest,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    failures: u32,
}

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: HashMap<Group, Count>,
}

impl Failures {
    /// Counts a wrong key. `Some` are the seconds for which the address has had its share.
    pub(super) fn failed(&mut self, address: IpAddr, now: Instant) -> Option<u32> {
        let group = self.group(address, now);
        let count = self.counts.entry(group).or_insert(Count { since: now, failures: 0 });
        if now.duration_since(count.since) >= WINDOW {
            *count = Count { since: now, failures: 0 };
        }
        if count.failures < FAILURES_MAX {
            count.failures += 1;
            return None;
        }
        let left = WINDOW.saturating_sub(now.duration_since(count.since));
        Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }

    fn group(&mut self, address: IpAddr, now: Instant) -> Group {
        let group = match address.to_canonical() {
            IpAddr::V4(address) => Group::V4(address),
            IpAddr::V6(address) => Group::V6((address.to_bits() >> 64) as u64),
        };
        if self.counts.len() < GROUPS_MAX || self.counts.contains_key(&group) {
            return group;
        }
        self.counts.retain(|_, count| now.duration_since(count.since) < WINDOW);
        if self.counts.len() < GROUPS_MAX { group } else { Group::Rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(failures: &mut Failures, address: &str, now: Instant) -> Option<u32> {
        failures.failed(address.parse().unwrap(), now)
    }

    #[test]
    fn after_its_share_an_address_waits_for_the_window_to_end() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(fail(&mut failures, "10.0.0.1", start), None);
        }
        assert_eq!(fail(&mut failures, "10.0.0.1", start), Some(61));
        assert_eq!(fail(&mut failures, "::ffff:10.0.0.1", start + WINDOW / 2), Some(31));
        assert_eq!(fail(&mut failures, "10.0.0.2", start), None, "each address has its own share");
        assert_eq!(fail(&mut failures, "10.0.0.1", start + WINDOW), None);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for last in 0..FAILURES_MAX {
            assert_eq!(fail(&mut failures, &format!("2001:db8:0:1::{last:x}"), now), None);
        }
        assert!(fail(&mut failures, "2001:db8:0:1:ffff::1", now).is_some());
        assert_eq!(fail(&mut failures, "2001:db8:0:2::1", now), None);
    }

    #[test]
    fn memory_is_bounded_and_what_does_not_fit_is_counted_together() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number));
        let most = u32::try_from(GROUPS_MAX).unwrap();
        let refused = (0..most + 100).filter(|&it| failures.failed(address(it), start).is_some()).count();
        assert_eq!(refused, 100 - FAILURES_MAX as usize);
        assert_eq!(failures.counts.len(), GROUPS_MAX + 1);
        assert_eq!(failures.failed(address(most + 200), start + WINDOW), None);
        assert_eq!(failures.counts.len(), 1, "counts that are over make room");
    }
}
