//! When what the kernel counted for sandboxes that are gone is cleared away.
//!
//! The kernel frees what they held some seconds later and says nothing of it, so it is looked at again after a while;
//! where forks share it, after ever longer ones.

use std::time::{Duration, Instant};

use rustix::event::Timespec;

use super::{layer_budget::SweepPlace, serve::Launcher};

/// The first look comes so long after a sandbox has gone: the pool commits every five seconds.
const PAUSE_FIRST: Duration = Duration::from_secs(6);
/// While something goes on with a layer.
const PAUSE_BUSY: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// Between the parts of a look: others get their turn.
const PAUSE_PART: Duration = Duration::from_millis(20);

/// The next look.
pub(super) struct Sweeping {
    due: Option<Instant>,
    pause: Duration,
    /// Where a look goes on, and whether something stayed before that.
    from: Option<SweepPlace>,
    some_stay: bool,
}

impl Sweeping {
    /// One that looks for what an earlier launcher left.
    pub(super) fn new() -> Self {
        Self { due: Some(Instant::now() + PAUSE_FIRST), pause: PAUSE_FIRST, from: None, some_stay: false }
    }

    /// How long the launcher may wait for events.
    pub(super) fn wait(&self) -> Option<Timespec> {
        let left = self.due?.saturating_duration_since(Instant::now());
        // Not so little less that it would be too early.
        Timespec::try_from(left + Duration::from_millis(1)).ok()
    }

    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

impl Launcher {
    /// Looks, if it is time.
    pub(super) fn sweep_if_due(&mut self) {
        if self.layers.budget_left.take() {
            self.sweeping = Sweeping::new();
        }
        if !self.sweeping.is_due() {
            return;
        }
        if !self.offloaded.is_empty() {
            // A group that is made for a fork has no layer yet.
            self.sweeping.due = Some(Instant::now() + PAUSE_BUSY);
            return;
        }
        let sweeping = &mut self.sweeping;
        let swept = self.layers.budgets_sweep(&mut sweeping.from);
        // Where it failed, it is looked at again.
        sweeping.some_stay |= swept.as_ref().map_or(true, |swept| swept.some_stay);
        if swept.as_ref().is_ok_and(|swept| swept.more) {
            sweeping.due = Some(Instant::now() + PAUSE_PART);
            return;
        }
        sweeping.pause = (2 * sweeping.pause).min(PAUSE_MAX);
        sweeping.due = std::mem::take(&mut sweeping.some_stay).then(|| Instant::now() + sweeping.pause);
        self.report_error(swept.map(drop));
    }
}
