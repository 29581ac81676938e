//! What a sandbox's layer and all its snapshots may hold together.
//!
//! Simple quotas charge what is written to the subvolume that wrote it, for as long as anything refers to it: a layer
//! that was replaced goes on counting, if only by what snapshots keep of it. So all subvolumes of a sandbox, those that
//! are gone too, are members of one group of quotas (qgroup), and the group has a limit. It is made with the first
//! snapshot; until then the limit of the layer is all there is.
//!
//! A fork begins with what another sandbox has written, and keeps that alive when the other is gone. It is charged with
//! all that the other held, so that generations of forks can't add up to more than one may hold. Of the two limits
//! that a group has, the one of referenced bytes is what the sandbox may hold, the one of exclusive bytes that without
//! what it began with; of simple quotas the lower one counts, and nothing else has to be noted.

use std::{
    collections::HashSet,
    os::fd::{AsFd, OwnedFd},
};

use protocol::{SandboxId, launcher::Stats};
use rustix::io::Errno;

use super::layer::Layers;
use crate::{
    failure::{Step, StepError},
    sys,
};

/// The level of the groups; subvolumes are at level 0. The number of a level is in the upper 16 bits of an id.
const LEVEL: u64 = 1 << 48;
/// Set in the ids of all groups of ours: whoever makes groups by hand begins at 1.
const OURS: u64 = LEVEL | 1 << 47;
/// Snapshots are refused when no more than this is left: it lets files be deleted, and programs end in good order.
const LEFT_BYTES_MIN: u64 = 1 << 20;
/// What a layer that was put back may hold in any case, until the next snapshot. What the one before held is counted
/// until the kernel has freed it, seconds later, and the sandbox is to start before that.
const RESTORED_BYTES: u64 = 4 << 20;

/// What a sandbox gets beyond its limits while it starts: the mount of its overlay makes folders, and would be read-only
/// where not even those may be made.
const LENT_BYTES: u64 = 1 << 20;

/// One in so many layers that are put back has its sandbox tidied, by its number.
const TIDIED_LAYERS: u64 = 16;

/// A group, as the kernel shows it.
struct Budget {
    /// What its members count.
    held: u64,
    /// What the sandbox may hold, with what it began with.
    total: u64,
    /// What it may hold of its own.
    own: u64,
}

impl Budget {
    /// What it began with.
    fn inherited(&self) -> u64 {
        self.total.saturating_sub(self.own)
    }
}

/// How many members are looked at in one part of a sweep.
const SWEEP_LOOKS: usize = 50;

/// The member that was looked at last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SweepPlace {
    group: u64,
    member: u64,
}

/// What a part of a sweep has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Swept {
    /// Whether there is more to look at.
    pub(super) more: bool,
    /// Whether groups stay: the kernel has not freed all yet, or forks share what was written.
    pub(super) some_stay: bool,
}

/// Limits that are put back once a sandbox has started.
#[derive(Debug)]
pub(super) struct Loan {
    disk_bytes: u64,
    /// What the sandbox began with, and what it may hold of its own.
    budget: Option<(u64, u64)>,
}

/// The id of a sandbox's group. It follows from the sandbox's, of which the last 62 bits are random: among ten thousand
/// sandboxes the chance that two share a group is below one in a million, and then they share its limit.
fn group_of(sandbox: SandboxId) -> u64 {
    let (_, random) = sandbox.uuid().as_u64_pair();
    OURS | random & (OURS - LEVEL - 1)
}

fn is_ours(group: u64) -> bool {
    group & OURS == OURS && group >> 49 == 0
}

fn used_up() -> StepError {
    StepError::new("hold a sandbox and its snapshots to what they may hold together", Errno::DQUOT)
}

impl Layers {
    /// Has a new layer counted with its sandbox's snapshots, if there were any.
    pub(super) fn budget_join(&self, sandbox: SandboxId) -> Result<(), StepError> {
        if !self.has_budget(sandbox) {
            return Ok(());
        }
        self.member_add(&self.open_layer(&sandbox.to_string())?, group_of(sandbox))
    }

    /// The group that a new snapshot of a layer is counted in, if such are counted. Refuses when nothing is left.
    pub(super) fn budget_for_snapshot(
        &self,
        sandbox: SandboxId,
        layer: &OwnedFd,
        total_bytes: u64,
    ) -> Result<Option<u64>, StepError> {
        if !self.simple_quotas {
            return Ok(None);
        }
        let group = group_of(sandbox);
        let budget = self.budget(group);
        let inherited = budget.as_ref().map_or(0, Budget::inherited);
        // The limit is set last: where it is right, all of it was done.
        if budget.as_ref().is_none_or(|budget| budget.total != total_bytes) {
            self.group_make(group)?;
            self.member_add(layer, group)?;
            self.group_limit(group, inherited, total_bytes.saturating_sub(inherited))?;
        }
        let held = match budget {
            Some(budget) => budget.held,
            None => self.budget(group).map_or(0, |budget| budget.held),
        };
        let left = total_bytes.saturating_sub(inherited).saturating_sub(held);
        if left <= LEFT_BYTES_MIN { Err(used_up()) } else { Ok(Some(group)) }
    }

    /// The group that a layer made from a snapshot is counted in, if such are counted. Refuses a fork for which not
    /// even the limit of its layer is left.
    pub(super) fn budget_for_restore(
        &self,
        sandbox: SandboxId,
        snapshot: &OwnedFd,
        disk_bytes: u64,
        total_bytes: Option<u64>,
    ) -> Result<Option<u64>, StepError> {
        let Some(total_bytes) = total_bytes.filter(|_| self.simple_quotas) else { return Ok(None) };
        let group = group_of(sandbox);
        let number = subvolume_number(snapshot)?;
        let origins = self.pairs(number)?.into_iter().filter(|origin| is_ours(*origin) && *origin != group);
        let origin = origins.filter_map(|origin| self.budget(origin)).next();
        let budget = self.budget(group);
        let (inherited, own) = match (&origin, &budget) {
            (Some(origin), _) => {
                let inherited = origin.inherited().saturating_add(origin.held);
                let own = total_bytes.saturating_sub(inherited);
                if own < disk_bytes {
                    return Err(used_up());
                }
                (inherited, own)
            }
            (None, Some(budget)) => {
                let own = total_bytes.saturating_sub(budget.inherited());
                (budget.inherited(), own.max(budget.held.saturating_add(RESTORED_BYTES)))
            }
            (None, None) => (0, total_bytes),
        };
        let is_right = |budget: &Budget| budget.own == own && budget.total == inherited.saturating_add(own);
        if !budget.as_ref().is_some_and(is_right) {
            self.group_make(group)?;
            self.group_limit(group, inherited, own)?;
        }
        Ok(Some(group))
    }

    /// Raises the limits of a layer that was written before, and that of all that its sandbox holds, for its start.
    pub(super) fn lend(&self, sandbox: SandboxId, disk_bytes: u64) -> Result<Option<Loan>, StepError> {
        if !self.subvolumes {
            return Ok(None);
        }
        self.layer_limit(sandbox, disk_bytes.saturating_add(LENT_BYTES))?;
        let budget =
            self.budget(group_of(sandbox)).map(|budget| (budget.inherited(), budget.own, budget.held));
        let budget = budget.filter(|(_, own, held)| own.saturating_sub(*held) < LENT_BYTES);
        if let Some((inherited, own, held)) = budget {
            self.group_limit(group_of(sandbox), inherited, own.max(held).saturating_add(LENT_BYTES))?;
        }
        Ok(Some(Loan { disk_bytes, budget: budget.map(|(inherited, own, _)| (inherited, own)) }))
    }

    /// Puts the limits back.
    pub(super) fn loan_end(&self, sandbox: SandboxId, loan: &Loan) -> Result<(), StepError> {
        if let Some((inherited, own)) = loan.budget {
            self.group_limit(group_of(sandbox), inherited, own)?;
        }
        self.layer_limit(sandbox, loan.disk_bytes)
    }

    fn layer_limit(&self, sandbox: SandboxId, bytes: u64) -> Result<(), StepError> {
        self.limit(&self.open_layer(&sandbox.to_string())?, bytes)
    }

    /// Adds what is counted to what a sandbox uses.
    pub(super) fn stats_add(&self, sandbox: SandboxId, stats: &mut Stats) {
        stats.disk_bytes = self.size_bytes(sandbox);
        let budget = self.budget(group_of(sandbox));
        stats.total_left_bytes = budget.map(|budget| budget.own.saturating_sub(budget.held));
    }

    /// Whether a sandbox has a group.
    pub(super) fn has_budget(&self, sandbox: SandboxId) -> bool {
        self.budget(group_of(sandbox)).is_some()
    }

    /// Removes the groups of sandboxes that are gone, and what members they had: a part of them at a time, for it is
    /// the launcher that does it. `from` is where it goes on, and after that where the next part begins.
    pub(super) fn budgets_sweep(&self, from: &mut Option<SweepPlace>) -> Result<Swept, StepError> {
        let Some(folder) = self.quota_groups.as_ref().filter(|_| self.simple_quotas) else {
            return Ok(Swept::default());
        };
        let entries = std::fs::read_dir(folder).step(|| format!("list {folder}"))?;
        let groups = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let number: u64 = name.to_str()?.strip_prefix("1_")?.parse().ok()?;
            Some(LEVEL | number).filter(|group| is_ours(*group))
        });
        let live: HashSet<u64> = self.list()?.into_iter().map(group_of).collect();
        let mut gone: Vec<u64> = groups.filter(|group| !live.contains(group)).collect();
        gone.sort_unstable();
        let begin = from.take().unwrap_or_default();
        let mut looks = 0;
        let mut swept = Swept::default();
        for group in gone.into_iter().filter(|group| *group >= begin.group) {
            let mut members = self.pairs(group)?;
            members.sort_unstable();
            for member in members.into_iter().filter(|member| (group, *member) > (begin.group, begin.member))
            {
                self.member_sweep(member);
                looks += 1;
                if looks == SWEEP_LOOKS {
                    *from = Some(SweepPlace { group, member });
                    return Ok(Swept { more: true, ..swept });
                }
            }
            // Refused while it has members.
            if sys::quota_group_remove(self.sandboxes.as_fd(), group).is_err() {
                swept.some_stay = true;
            }
        }
        Ok(swept)
    }

    /// Removes what the kernel counted for layers and snapshots of a sandbox that are gone, where nothing is left of
    /// them: not at each restore, for it has to look at every snapshot.
    pub(super) fn budget_tidy(&self, sandbox: SandboxId) -> Result<(), StepError> {
        let number = subvolume_number(&self.open_layer(&sandbox.to_string())?)?;
        if number % TIDIED_LAYERS == 0 && self.has_budget(sandbox) {
            self.pairs(group_of(sandbox))?.into_iter().for_each(|member| self.member_sweep(member));
        }
        Ok(())
    }

    /// Removes what is counted for a subvolume that is gone, unless something of it lives on.
    fn member_sweep(&self, member: u64) {
        // A subvolume that is there counts something, its root if nothing else.
        if self.count(member, "referenced") == Some(0) {
            // What can't be removed is looked at again.
            let _ = sys::quota_group_remove(self.sandboxes.as_fd(), member);
        }
    }

    fn budget(&self, group: u64) -> Option<Budget> {
        let held = self.count(group, "referenced").filter(|_| self.simple_quotas)?;
        let limit = |name| self.count(group, name);
        Some(Budget { held, total: limit("max_referenced")?, own: limit("max_exclusive")? })
    }

    fn pairs(&self, group: u64) -> Result<Vec<u64>, StepError> {
        sys::quota_group_pairs(self.sandboxes.as_fd(), group).step(|| "look up groups of quotas".to_owned())
    }

    fn group_make(&self, group: u64) -> Result<(), StepError> {
        match sys::quota_group_create(self.sandboxes.as_fd(), group) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(StepError::new("make a group of quotas", errno)),
        }
    }

    fn member_add(&self, subvolume: &OwnedFd, group: u64) -> Result<(), StepError> {
        let number = subvolume_number(subvolume)?;
        match sys::quota_group_add(self.sandboxes.as_fd(), number, group) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(StepError::new("count the layer with its snapshots", errno)),
        }
    }

    fn group_limit(&self, group: u64, inherited: u64, own: u64) -> Result<(), StepError> {
        sys::quota_group_limit(self.sandboxes.as_fd(), group, inherited.saturating_add(own), own)
            .step(|| "limit a layer and its snapshots".to_owned())
    }
}

fn subvolume_number(subvolume: &OwnedFd) -> Result<u64, StepError> {
    sys::subvolume_number(subvolume.as_fd()).step(|| "look up a subvolume's number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_ours_and_differ() {
        let groups: HashSet<u64> = (0..1000).map(|_| group_of(SandboxId::random())).collect();
        assert_eq!(groups.len(), 1000);
        assert!(groups.iter().all(|group| is_ours(*group) && group >> 48 == 1));
        for other in [0, 256, LEVEL | 1, LEVEL | 100, (2 * LEVEL) | OURS, OURS << 1] {
            assert!(!is_ours(other), "{other:#x}");
        }
    }
}
